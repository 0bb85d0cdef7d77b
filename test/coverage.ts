/**
 * Judges the coverage of `src/` by all tests: what the test runner saw in its own
 * processes, and what the command line and servers did in processes that tests started.
 * Node runs TypeScript without moving a character, so offsets in both are those of the
 * source.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const LINES_MIN_PERCENT = 90;
/** Files below this are listed, worst first. */
const LISTED_BELOW_PERCENT = 80;
const COVERAGE_DIR = fileURLToPath(new URL("../coverage/", import.meta.url));
const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** What the test runner writes for one file (the format of Istanbul). */
interface RunnerFile {
  readonly path: string;
  readonly statementMap: Readonly<
    Record<string, { readonly start: { readonly line: number; readonly column: number } }>
  >;
  readonly s: Readonly<Record<string, number>>;
}

/** What Node writes for one process (the format of V8). */
interface ProcessReport {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly {
      readonly ranges: readonly {
        readonly startOffset: number;
        readonly endOffset: number;
        readonly count: number;
      }[];
    }[];
  }[];
}

/** One file's lines that hold a statement. */
interface FileCoverage {
  readonly path: string;
  readonly lines: number;
  readonly covered: number;
}

const runnerFiles = await readRunnerFiles();
const ranByPath = await readProcesses();
const files = await Promise.all(runnerFiles.map(coverageOf));
process.exitCode = report(files) ? 0 : 1;

async function readRunnerFiles(): Promise<RunnerFile[]> {
  const text = await readFile(join(COVERAGE_DIR, "coverage-final.json"), "utf8");
  return Object.values(JSON.parse(text) as Record<string, RunnerFile>);
}

/** For each source file, which of its characters some process ran. */
async function readProcesses(): Promise<ReadonlyMap<string, Uint8Array>> {
  const ran = new Map<string, Uint8Array>();
  const dir = join(COVERAGE_DIR, "processes");
  for (const name of await readdir(dir)) {
    const { result } = JSON.parse(await readFile(join(dir, name), "utf8")) as ProcessReport;
    for (const { url, functions } of result) {
      if (!url.startsWith("file://")) continue;
      const path = fileURLToPath(url);
      if (!path.startsWith(join(ROOT, "src/"))) continue;
      const source = ran.get(path) ?? new Uint8Array((await readFile(path, "utf8")).length);
      ran.set(path, source);
      const counts = countsOf(functions, source.length);
      for (let offset = 0; offset < source.length; offset++) {
        if ((counts[offset] as number) > 0) source[offset] = 1;
      }
    }
  }
  return ran;
}

/** How often each character ran: an inner range says more than the one around it. */
function countsOf(
  functions: ProcessReport["result"][number]["functions"],
  length: number,
): Float64Array {
  const counts = new Float64Array(length);
  const ranges = functions.flatMap((each) => each.ranges);
  ranges.sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset);
  for (const { startOffset, endOffset, count } of ranges)
    counts.fill(count, startOffset, endOffset);
  return counts;
}

async function coverageOf(file: RunnerFile): Promise<FileCoverage> {
  const ran = ranByPath.get(file.path);
  const lineStarts = ran && lineStartsOf(await readFile(file.path, "utf8"));
  const coveredByLine = new Map<number, boolean>();
  for (const [id, { start }] of Object.entries(file.statementMap)) {
    const offset = (lineStarts?.[start.line - 1] ?? 0) + start.column;
    const isCovered = (file.s[id] ?? 0) > 0 || ran?.[offset] === 1;
    coveredByLine.set(start.line, isCovered || coveredByLine.get(start.line) === true);
  }
  const covered = [...coveredByLine.values()].filter(Boolean).length;
  return { path: file.path.slice(ROOT.length), lines: coveredByLine.size, covered };
}

function lineStartsOf(source: string): number[] {
  const starts = [0];
  for (const { index } of source.matchAll(/\n/g)) starts.push(index + 1);
  return starts;
}

/** @returns whether enough is covered. */
function report(files: readonly FileCoverage[]): boolean {
  const percentOf = ({ covered, lines }: Pick<FileCoverage, "covered" | "lines">) =>
    lines === 0 ? 100 : (100 * covered) / lines;
  const weak = files.filter((file) => percentOf(file) < LISTED_BELOW_PERCENT);
  for (const file of weak.sort((a, b) => percentOf(a) - percentOf(b))) {
    say(`  ${percentOf(file).toFixed(0).padStart(3)} % of ${file.lines} lines: ${file.path}`);
  }
  const lines = files.reduce((sum, file) => sum + file.lines, 0);
  const covered = files.reduce((sum, file) => sum + file.covered, 0);
  const percent = percentOf({ covered, lines });
  say(`Coverage of src/, started processes included: ${percent.toFixed(1)} % of ${lines} lines`);
  if (percent >= LINES_MIN_PERCENT) return true;
  say(`That is less than ${LINES_MIN_PERCENT} %.`);
  return false;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
