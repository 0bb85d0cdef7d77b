/**
 * Which process has an outbox file, as the file itself says. The lock beside it goes by its
 * path; what stands in the file is found by whatever name it has, and by whoever deleted the
 * lock.
 *
 * A process is told from a later one with its number by when it started, which Linux says.
 * Elsewhere only the lock counts.
 */
import { readFileSync } from "node:fs";

/** A process. */
export interface Owner {
  readonly pid: number;
  /** When it started, in ticks since the machine did. */
  readonly startedTicks: string;
}

/** States of a process that has ended, but whose number is not free yet. */
const ENDED = ["Z", "X"];
/** The field of `/proc/<pid>/stat` that tells it, counted from the first after the name (proc(5)). */
const START_FIELD = 19;

/** This process; `undefined` if the system does not tell when it started. */
export function thisOwner(): Owner | undefined {
  const startedTicks = startedTicksOf(process.pid);
  return startedTicks === undefined ? undefined : { pid: process.pid, startedTicks };
}

/** Whether it is another process than this one, and still there. */
export function isOtherAlive({ pid, startedTicks }: Owner): boolean {
  return pid !== process.pid && startedTicksOf(pid) === startedTicks;
}

function startedTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name before it stands in brackets and may itself have any character.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return ENDED.includes(String(fields[0])) ? undefined : fields[START_FIELD];
  } catch {
    return undefined;
  }
}
