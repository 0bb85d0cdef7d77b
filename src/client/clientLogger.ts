/**
 * Where the client writes what it did. A `pino` logger fits as it is, and so does anything
 * with these three methods. Nothing that is written holds a secret.
 */
export interface ClientLogger {
  /** A signal was delivered. */
  info(facts: object, message: string): void;
  /** Something went wrong and is tried again. */
  warn(facts: object, message: string): void;
  /** Something went wrong for good: a person should look. */
  error(facts: object, message: string): void;
}

/** Writes nothing. */
export const silentLogger: ClientLogger = {
  info() {},
  warn() {},
  error() {},
};
