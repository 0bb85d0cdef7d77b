/**
 * Where the client writes what it did, and the little that it says where nobody gave it a logger.
 */

import { writeSync } from "node:fs";
import { type Logger, sentence } from "../alerts/index.ts";
import { monotonicMs } from "./clock.ts";

/**
 * Where the client writes what it did: `info` that a signal was delivered, `warn` what went
 * wrong and is tried again, `error` what went wrong for good, so that a person should look. A
 * `pino` logger fits as it is, and so does anything with these three methods. Nothing that is
 * written holds a secret.
 */
export type ClientLogger = Logger;

/** Writes nothing. */
export const silentLogger: ClientLogger = {
  info() {},
  warn() {},
  error() {},
};

/** One line in so long a time is enough to know, and never a flood. */
const INTERVAL_MS = 60_000;
const STDERR = 2;
const HINT = "This is told at most once a minute; give the client a logger to know more, or less.";

/** Tells a person something, in one line. Never throws. */
export type Notice = (text: string) => void;

/** What a client with a logger says here. */
export const noNotice: Notice = () => {};

/** Makes notices for standard error: the first at once, then one a minute at most. */
export function createStderrNotice(): Notice {
  let nextMs = 0;
  return (text) => {
    const nowMs = monotonicMs();
    if (nowMs < nextMs) return;
    nextMs = nowMs + INTERVAL_MS;
    try {
      writeSync(STDERR, `countersign: ${sentence(text)} ${HINT}\n`);
    } catch {
      // There is nowhere else to tell of it.
    }
  };
}
