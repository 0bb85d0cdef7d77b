/**
 * `npm run bench`: measures Countersign beside what it must beat, on one PostgreSQL of its
 * own, and says which targets are met. It tells its progress on standard error, prints its
 * tables on standard output, and leaves nothing behind but `bench/results.md`.
 */
import { writeFile } from "node:fs/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { FULL_PACE, type Lab, openLab, QUICK_PACE } from "./lab/lab.ts";
import { describeMachine } from "./lab/machine.ts";
import { createProgress } from "./lab/progress.ts";
import { markdownReport } from "./report/markdown.ts";
import type { Section } from "./report/section.ts";
import { terminalReport } from "./report/terminal.ts";
import { loneSignal } from "./scenarios/loneSignal.ts";
import { memory } from "./scenarios/memory.ts";
import { micro } from "./scenarios/micro.ts";
import { openLoop } from "./scenarios/openLoop.ts";
import { outbox } from "./scenarios/outbox.ts";
import { rates } from "./scenarios/rates.ts";
import type { Scenario } from "./scenarios/scenario.ts";
import { start } from "./scenarios/start.ts";
import { tableSize } from "./scenarios/tableSize.ts";

/** The filled table comes last, so that what it leaves in memory and on disk bothers nobody. */
const SCENARIOS: readonly Scenario[] = [
  micro,
  start,
  rates,
  openLoop,
  loneSignal,
  outbox,
  memory,
  tableSize,
];
const RESULTS_FILE = `${import.meta.dirname}/results.md`;
/** What a shell reports of a program that Ctrl-C ended. */
const EXIT_INTERRUPTED = 130;

interface Options {
  readonly quick: boolean;
  readonly only?: string;
  readonly rounds?: number;
  readonly results?: string;
}

const options = new Command("bench")
  .description("Measures the rate, the latency and the memory, and says which targets are met.")
  .option("--quick", "one short round, to see that it works; its numbers say little", false)
  .addOption(
    new Option("--only <scenario>", "one scenario").choices(SCENARIOS.map(({ name }) => name)),
  )
  .option("--rounds <count>", "how often each contender runs", positiveInteger)
  .option("--results <file>", "where to write the results (a whole run: bench/results.md)")
  .addHelpText("after", `\n${SCENARIOS.map(({ name, about }) => `  ${name}: ${about}`).join("\n")}`)
  .parse()
  .opts<Options>();

// All processes and files are put away in order, however often Ctrl-C is pressed.
const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(name, () => interrupt.abort());
}

try {
  await bench(options, interrupt.signal);
} catch (error) {
  if (!interrupt.signal.aborted) throw error;
  process.stderr.write("\nInterrupted.\n");
  process.exitCode = EXIT_INTERRUPTED;
}

function positiveInteger(text: string): number {
  if (!/^[1-9]\d*$/.test(text))
    throw new InvalidArgumentError("It must be a whole number above 0.");
  return Number(text);
}

async function bench({ quick, only, rounds, results }: Options, signal: AbortSignal) {
  const startMs = performance.now();
  const usual = quick ? QUICK_PACE : FULL_PACE;
  const pace = { ...usual, rounds: rounds ?? usual.rounds };
  const chosen = SCENARIOS.filter(
    (scenario) => (only === undefined || scenario.name === only) && scenario.steps(pace) > 0,
  );
  const steps = chosen.reduce((sum, scenario) => sum + scenario.steps(pace), 0);

  await using lab = await openLab(pace, createProgress(steps), signal);
  const machine = describeMachine(lab.dir, lab.postgres.version);
  process.stderr.write(`${machine.join("\n")}\n`);
  const sections = await runAll(chosen, lab);
  process.stdout.write(`\n${terminalReport(sections)}`);

  const isWhole = !quick && only === undefined;
  const file = results ?? (isWhole ? RESULTS_FILE : undefined);
  if (file === undefined) return;
  const command = `npm run bench${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(" ")}` : ""}`;
  const durationMs = performance.now() - startMs;
  const circumstances = { command, machine, rounds: pace.rounds, durationMs };
  await writeFile(file, markdownReport(sections, circumstances));
  process.stderr.write(`Written to ${file}\n`);
}

async function runAll(scenarios: readonly Scenario[], lab: Lab): Promise<Section[]> {
  const sections: Section[] = [];
  for (const scenario of scenarios) {
    sections.push(await scenario.run(lab));
    lab.signal.throwIfAborted();
  }
  return sections;
}
