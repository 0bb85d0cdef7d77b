import type { KeyedSignal } from "./signals.ts";

/**
 * One request that is ready to be sent, once.
 *
 * @returns how many of its signals were acknowledged as stored.
 * @throws Error if the request failed. A benchmark of refused requests would mean nothing,
 *   so this ends the run.
 */
export type Exchange = () => Promise<number>;

/** A way to hand signals over. */
export interface Transport {
  /** Makes and signs one request, so that sending it costs no more than the sending. */
  prepare(signals: readonly KeyedSignal[]): Exchange;
  close(): Promise<void>;
}
