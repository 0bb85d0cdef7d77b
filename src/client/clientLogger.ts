import type { Logger } from "../alerts/index.ts";

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
