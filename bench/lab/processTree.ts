/**
 * CPU time and memory of other processes, each with all its descendants: PostgreSQL is a
 * process for each connection, and a server may have workers. Only Linux tells.
 */
import { readdirSync, readFileSync } from "node:fs";

/** `USER_HZ`, in which /proc counts: 100 wherever Node runs (proc(5), time(7)). */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4_096;

interface ProcessFacts {
  readonly pid: number;
  readonly parentPid: number;
  /** Of the process itself. */
  readonly ownTicks: number;
  /** Of the children that have ended and were waited for. */
  readonly endedChildrenTicks: number;
  readonly rssBytes: number;
}

/** CPU seconds since each process began, ended children included; `undefined` if unknown. */
export function cpuSeconds(pid: number | undefined): number | undefined {
  const tree = processTree(pid);
  if (tree === undefined) return undefined;
  const ticks = tree.map(({ ownTicks, endedChildrenTicks }) => ownTicks + endedChildrenTicks);
  return sum(ticks) / TICKS_PER_SECOND;
}

/** Resident memory; pages that processes share count for each. `undefined` if unknown. */
export function rssBytes(pid: number | undefined): number | undefined {
  const tree = processTree(pid);
  return tree && sum(tree.map((facts) => facts.rssBytes));
}

function processTree(pid: number | undefined): readonly ProcessFacts[] | undefined {
  if (pid === undefined || process.platform !== "linux") return undefined;
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readFacts(Number(name)) ?? []);
  const root = all.filter((facts) => facts.pid === pid);
  if (root.length === 0) return undefined;
  const tree = [...root];
  // The list grows while it is walked, generation by generation.
  for (const parent of tree) tree.push(...all.filter(({ parentPid }) => parentPid === parent.pid));
  return tree;
}

/** @returns `undefined` if the process has ended meanwhile. */
function readFacts(pid: number): ProcessFacts | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name in parentheses may hold spaces; after it come the fields from the third on.
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => Number(fields[number - 3]);
  return {
    pid,
    parentPid: field(4),
    ownTicks: field(14) + field(15),
    endedChildrenTicks: field(16) + field(17),
    rssBytes: field(24) * PAGE_BYTES,
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
