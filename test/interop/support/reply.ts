import type { Instant, Signal, SignalStatus } from "../../../src/signal/index.ts";

/** What the server answered, the same for all protocols. */
export interface Reply {
  readonly signalId: string;
  readonly status: SignalStatus;
  readonly serverTime: Instant;
  readonly message: string;
  readonly duplicate: boolean;
  readonly errorCount: number;
  /** The HTTP status, where the sender can see it. */
  readonly httpStatus?: number;
}

/** Hands one signal over under a key. Fails with whatever its client fails with. */
export type Send = (serverUrl: string, signal: Signal, key: string) => Promise<Reply>;
