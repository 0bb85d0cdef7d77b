/** What the first process and its workers tell each other. */

import type { AddressInfo } from "node:net";
import type { SignalServerConfig } from "../config/config.ts";
import type { MetricsSnapshot } from "../ops/metrics.ts";

/** What a worker is told. */
export type ToWorker =
  | { readonly kind: "start"; readonly config: SignalServerConfig }
  /** Tell the metrics, under this number. */
  | { readonly kind: "report"; readonly number: number }
  /** Finish what is under way, and end. */
  | { readonly kind: "close" };

/** What a worker tells. */
export type FromWorker =
  | { readonly kind: "ready"; readonly address: AddressInfo }
  | { readonly kind: "failed"; readonly failure: StartFailure }
  | { readonly kind: "report"; readonly number: number; readonly snapshot: MetricsSnapshot };

/** What of an error matters to the first process, since an error does not travel whole. */
export interface StartFailure {
  readonly message: string;
  /** As in Node's errors of the operating system, where it is one. */
  readonly code?: string | undefined;
  readonly syscall?: string | undefined;
}
