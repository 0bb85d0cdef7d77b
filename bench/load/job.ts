/**
 * What the load generator is told, and what it reports: the two messages between it and
 * the benchmark, which runs it as a process of its own.
 */

/** Where the signals go. */
export type Target =
  /** A server, over Connect JSON on HTTP/1.1 or over gRPC. */
  | { readonly kind: "json" | "grpc"; readonly url: string }
  /** The database itself: single-row inserts, or the store's own call. */
  | { readonly kind: "insert" | "store"; readonly databaseUrl: string };

/** How the signals are sent. */
export type Plan =
  /** So many requests at a time, each followed by the next one as soon as it is answered. */
  | {
      readonly kind: "closed";
      readonly concurrency: number;
      readonly signalsPerRequest: number;
      /** The most signals a second to prepare for; a run that uses all of them ends early. */
      readonly preparedPerSecond: number;
    }
  /** For minutes of load, too long to prepare: each request is made when it is sent. */
  | { readonly kind: "sustained"; readonly concurrency: number }
  /** A fixed rate, whether or not the answers keep up. */
  | { readonly kind: "open"; readonly ratePerSecond: number }
  /** One signal at a time, in turns to the target and to another one, `pauseMs` apart. */
  | {
      readonly kind: "paired";
      readonly other: Target;
      readonly pairs: number;
      readonly pauseMs: number;
    };

/** One run. */
export interface LoadJob {
  readonly target: Target;
  readonly plan: Plan;
  readonly producerId: string;
  readonly secret: string;
  /** How long to send before the clock starts; 0 sends nothing then. */
  readonly warmUpMs: number;
  readonly durationMs: number;
  /** Processes whose CPU time is counted, each with its descendants. */
  readonly watched: {
    readonly server: number | undefined;
    readonly postgres: number | undefined;
  };
}

/** Quantiles of the time from sending, or from when sending was due, to the answer. */
export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What one run gave. All but `acknowledgedInAll` is about the time after the warm-up. */
export interface LoadReport {
  /** Signals that were acknowledged as stored, those of the warm-up too. */
  readonly acknowledgedInAll: number;
  readonly acknowledged: number;
  readonly seconds: number;
  readonly latency: Latency;
  /** The latency of the other target of a paired plan. */
  readonly otherLatency: Latency | undefined;
  /** CPU time; `undefined` if the process was not watched or cannot be. */
  readonly cpuSeconds: {
    readonly load: number;
    readonly server: number | undefined;
    readonly postgres: number | undefined;
  };
  /** The share of the time in which the load generator's event loop was busy, 0 to 1. */
  readonly loopUtilization: number;
  /** Whether the prepared signals were used up before the time was over. */
  readonly isCutShort: boolean;
  /** The server's resident memory, once a second. */
  readonly serverRssBytes: readonly number[];
}
