/**
 * What the bot of the drills is told to do, and what it tells. Pure.
 */

/** What a strategy decided, in full: to decide the same again is to send the same again. */
export interface Decision {
  /** Counted from 0 over all lives of a bot: the order of the decisions. */
  readonly index: number;
  readonly key: string;
  /** RFC 3339. */
  readonly signalTime: string;
  readonly expireTime?: string | undefined;
}

/** What a bot writes into its ledger. */
export type LedgerEvent =
  /** It works. */
  | { readonly event: "ready"; readonly metricsUrl: string }
  /** It is about to enqueue. */
  | { readonly event: "decided"; readonly decision: Decision }
  /** `enqueue` has resolved. */
  | { readonly event: "taken"; readonly key: string }
  /** It has waited until nothing was to be delivered, or long enough. */
  | { readonly event: "flushed"; readonly isEmpty: boolean };

/** What a bot is told, one after the other. */
export type Order = EnqueueOrder | { readonly order: "flush"; readonly timeoutMs: number };

/** To decide and enqueue. */
export interface EnqueueOrder {
  readonly order: "enqueue";
  /** Decisions of an earlier life, which come first. */
  readonly repeated: readonly Decision[];
  /** The first new decision, */
  readonly from: number;
  /** and the one that is not made any more. */
  readonly until: number;
  /** How many are enqueued at once, and how long it rests then; from the start again at its end. */
  readonly rhythm: readonly { readonly burst: number; readonly pauseMs: number }[];
  /** How long decisions are valid, in milliseconds, by their index; null is for ever. */
  readonly validMs: readonly (number | null)[];
  /** After how many enqueued signals it kills itself, at once, if ever. */
  readonly dieAfter?: number | undefined;
}

/** What a ledger says of all lives so far. */
export class Ledger {
  /** In their order. */
  readonly decisions = new Map<string, Decision>();
  /** The keys that the outbox took. */
  readonly taken = new Set<string>();
  /** The other events. */
  readonly events: LedgerEvent[] = [];

  read(event: LedgerEvent): void {
    if (event.event === "decided") this.decisions.set(event.decision.key, event.decision);
    else if (event.event === "taken") this.taken.add(event.key);
    else this.events.push(event);
  }

  /** The decisions of which nobody knows whether they are in the outbox. */
  get doubtful(): Decision[] {
    return [...this.decisions.values()].filter(({ key }) => !this.taken.has(key));
  }
}
