import { Writable } from "node:stream";
import { watch } from "./secrecy/watch.ts";

/** A log that a test can read. */
export interface RecordedLog {
  /** Where the log is written to. */
  readonly stream: Writable;
  /** What was written so far, one object a line. */
  readonly lines: Record<string, unknown>[];
}

/** A place for a log of JSON lines, whole lines at a time as pino writes them. */
export function recordLog(): RecordedLog {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      watch("a log", chunk);
      for (const line of chunk.toString("utf8").split("\n")) {
        if (line !== "") lines.push(JSON.parse(line));
      }
      done();
    },
  });
  return { stream, lines };
}
