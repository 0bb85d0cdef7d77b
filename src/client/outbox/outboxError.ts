import { outboxCommand } from "../alerts/commands.ts";

/** Why the outbox itself, not a signal, is at fault. */
export type OutboxErrorReason =
  /** It holds as many signals or bytes as it may. Deliver, retry or drop some, or raise the bound. */
  | "OUTBOX_FULL"
  /** It takes no more, because it was closed. */
  | "OUTBOX_CLOSED"
  /** Another process, or another outbox of this one, has the file. */
  | "OUTBOX_LOCKED"
  /** The disk failed or is full. Nothing of the signal was kept. */
  | "OUTBOX_STORAGE"
  /** The file belongs to another program, so it was left alone. */
  | "OUTBOX_FOREIGN_FILE"
  /** The file was damaged. The outbox sets it aside and goes on; the command line only says so. */
  | "OUTBOX_DAMAGED"
  /** This Node.js is too old: its SQLite is not what an outbox needs. The rest of the client runs. */
  | "OUTBOX_UNSUPPORTED"
  /** A signal became older than `giveUpAfterMs` before it could be delivered. */
  | "GIVEN_UP";

/** What the outbox could not do, and for which file. Programs decide by {@link reason}. */
export class OutboxError extends Error {
  override readonly name: string = "OutboxError";
  readonly reason: OutboxErrorReason;

  constructor(reason: OutboxErrorReason, message: string, options?: ErrorOptions) {
    super(`[${reason}] ${message}`, options);
    this.reason = reason;
  }
}

/** The outbox is full, and the signal was not taken. It may be enqueued again later. */
export class OutboxFullError extends OutboxError {
  override readonly name = "OutboxFullError";

  constructor(path: string, bound: string) {
    super(
      "OUTBOX_FULL",
      `The outbox ${path} is full: it may hold ${bound}, dead letters included. The signal was not ` +
        "taken. Mend why nothing is delivered, retry or drop dead letters, or raise maxSignals or " +
        `maxBytes; this tells what fills it: ${outboxCommand("status", path)}`,
    );
  }
}

/** Another outbox has the file. */
export function lockedError(path: string, options?: ErrorOptions): OutboxError {
  return new OutboxError(
    "OUTBOX_LOCKED",
    `The outbox ${path} is in use by another process, or by another outbox of this one. ` +
      "Give each its own file, or stop the other first.",
    options,
  );
}

/** The file is not as an outbox wrote it. */
export class OutboxDamagedError extends OutboxError {
  override readonly name = "OutboxDamagedError";
  /** What is wrong, as a phrase. */
  readonly fault: string;

  constructor(path: string, fault: string, options?: ErrorOptions) {
    super("OUTBOX_DAMAGED", `The outbox ${path} is damaged: ${fault}.`, options);
    this.fault = fault;
  }
}
