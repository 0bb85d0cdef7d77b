import type { ClientLogger } from "./clientLogger.ts";

/**
 * The same logger, but nothing that it throws comes through: a signal that is stored must
 * not seem to have failed, nor an alert be lost, because a line about it could not be written.
 */
export function guardedLogger(logger: ClientLogger): ClientLogger {
  return {
    info: (facts, message) => ignoringErrors(() => logger.info(facts, message)),
    warn: (facts, message) => ignoringErrors(() => logger.warn(facts, message)),
    error: (facts, message) => ignoringErrors(() => logger.error(facts, message)),
  };
}

/** There is nowhere else to tell of a log that cannot be written. */
function ignoringErrors(write: () => void): void {
  try {
    write();
  } catch {}
}
