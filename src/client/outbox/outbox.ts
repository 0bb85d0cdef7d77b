/**
 * What an outbox does for a producer: it takes a signal once it is on this machine's disk, and
 * delivers it when it can. What it took is delivered, or reported to a person as undeliverable,
 * through crashes and outages of either side.
 */
import type { SignalErrorReason } from "../errorReason.ts";
import type { SignalInput } from "../input.ts";
import type { OutboxState } from "./worker.ts";

/** How to take one signal in. */
export interface EnqueueOptions {
  /**
   * Names this signal for good: 1 to 128 visible ASCII characters. Defaults to a new UUIDv7,
   * which the result tells. To be able to enqueue again after a crash without sending twice,
   * give one that follows from the decision, and the `signalTime` too: once the first was
   * delivered, the same key with another time is another content.
   */
  readonly idempotencyKey?: string | undefined;
}

/** A signal that is on disk. */
export interface EnqueueResult {
  /** The key that names the signal: the one given, or the one made for it. */
  readonly idempotencyKey: string;
  /**
   * - `pending`: it will be delivered, or reported.
   * - `dead_letter`: it was enqueued before, and could not be delivered, as was reported.
   */
  readonly state: "pending" | "dead_letter";
  /** Whether the very same signal was in the outbox already. */
  readonly duplicate: boolean;
}

/** How an outbox stands. */
export interface OutboxStatus {
  /** The file, with links resolved. */
  readonly path: string;
  /**
   * - `idle`: nothing is to be delivered.
   * - `delivering`: an attempt is under way.
   * - `waiting`: an attempt failed and will be repeated.
   * - `held`: nothing can be delivered until a person fixes the cause, see `lastError`.
   * - `closed`: it takes and delivers nothing any more.
   */
  readonly state: OutboxState;
  /** How many signals are to be delivered. */
  readonly pending: number;
  /** How many dead letters there are. */
  readonly deadLetters: number;
  /** Bytes of all of them. */
  readonly bytes: number;
  /** How long the oldest signal has waited to be delivered, in milliseconds; 0 if there is none. */
  readonly oldestAgeMs: number;
  /** Why the last attempt failed, if it did. */
  readonly lastError: { readonly reason: SignalErrorReason; readonly message: string } | undefined;
}

/** Takes signals and delivers them. Made by `createOutbox`. */
export interface Outbox extends AsyncDisposable {
  /**
   * Takes a signal. When this resolves, the signal is on disk, with its key and its
   * `signalTime` fixed; it never waits for the network. Every attempt to deliver it, also after
   * a reboot, sends the same content under the same key.
   *
   * A signal whose key is in the outbox is not taken twice: with the same content it is the
   * same signal. If `signalTime` is not given, that of the first call stays.
   *
   * @throws SignalError `INVALID_SIGNAL`, `PAYLOAD_TOO_LARGE` or `BODY_TOO_LARGE`, naming every
   *   wrong field; `IDEMPOTENCY_KEY_REUSED` if the key is in the outbox with another content.
   * @throws OutboxFullError if a bound is reached.
   * @throws OutboxError `OUTBOX_STORAGE` if the disk fails or is full; `OUTBOX_CLOSED`.
   * @throws ConfigError naming every option that there is not.
   */
  enqueue(signal: SignalInput, options?: EnqueueOptions): Promise<EnqueueResult>;

  /**
   * Waits until nothing is to be delivered. It hurries nothing: a wait for a retry goes on.
   *
   * @param timeoutMs how long to wait at most, in milliseconds; `Infinity` for as long as it takes.
   * @returns whether nothing is to be delivered; false if the time was over before, or the
   *   outbox was closed.
   * @throws RangeError if `timeoutMs` is not such a number.
   */
  flush(timeoutMs: number): Promise<boolean>;

  /** How the outbox stands now. */
  status(): OutboxStatus;

  /**
   * Takes no more signals, lets the attempt under way end, and closes the file. What is not
   * delivered stays in the file for the next start; to have it delivered first, `flush`.
   * `await using` does the same.
   *
   * @param options.drainMs how long the attempt under way may still take, in milliseconds;
   *   defaults to 5,000. Then it is aborted.
   * @throws RangeError, ConfigError if the options are wrong; then nothing is closed.
   */
  close(options?: { readonly drainMs?: number | undefined }): Promise<void>;
}
