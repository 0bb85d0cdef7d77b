/**
 * What one process counts, in the form of Prometheus: names, units and labels are here
 * and nowhere else (docs/operations.md lists them). Every label takes its values from a
 * closed list, or from the producers that the directory knows; a caller cannot make one up.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { type IngestResult, type SignalStore, StoreUnavailableError } from "../../ingest/index.ts";
import type { DatabaseUsage } from "../../store/index.ts";
import type { AuthenticationFailure } from "../auth/authenticate.ts";
import type { RequestRecord } from "../http/requestRecord.ts";
import type { DroppedLines } from "./log.ts";
import type { DatabaseProblem } from "./readiness.ts";

/** The metrics of one process as values that can be sent and added up. */
export type MetricsSnapshot = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

/** What a server process reports to. No method throws. */
export interface ServerMetrics {
  /** @param httpStatus `undefined` if the caller did not get an answer to its end. */
  requestDone(record: RequestRecord, httpStatus: number | undefined, durationMs: number): void;
  authenticationFailed(failure: AuthenticationFailure): void;
  /** @param producerId `undefined` for a producer that the directory does not know. */
  signalDone(producerId: string | undefined, result: IngestResult): void;
  storeFailed(error: unknown): void;
  /** Who may do what could not be read. */
  accessReadFailed(): void;
  /** The same store, with its batches measured. */
  measured(store: SignalStore): SignalStore;
  /** @param count how many signals are queued now. */
  watchQueue(count: () => number): void;
  /** @param usage how the connections to the database are used now. */
  watchDatabase(usage: () => DatabaseUsage): void;
  /** @param problems why no signal can be stored now, as last seen. */
  watchDatabaseProblems(problems: () => ReadonlySet<DatabaseProblem>): void;
  /** @param dropped the lines that this process's log has dropped so far. */
  watchLog(dropped: Readonly<DroppedLines>): void;
  snapshot(): Promise<MetricsSnapshot>;
}

const DATABASE_PROBLEMS = [
  "unreachable",
  "read_only",
  "durability",
  "session",
  "version",
  "encoding",
] as const satisfies readonly DatabaseProblem[];

/** From half of what a commit takes to the longest that a request may take. */
const DURATION_BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];
/** Up to the greatest call, which is never cut in two. */
const BATCH_BUCKETS_SIGNALS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000];

const UNKNOWN_ENDPOINT = "unknown";
/** An empty label is no label (Prometheus, "Data model"). */
const NO_PRODUCER = "";

/** What is counted of the requests to one endpoint over one protocol. */
interface RequestMetrics {
  readonly countByOutcome: Map<string, Counter.Internal>;
  readonly duration: Histogram.Internal<string>;
}

/** Makes the metrics of this process. */
export function createServerMetrics(monotonicMs: () => number): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const signals = new Counter({
    name: "countersign_signals_total",
    help: "Signals by what they came to: stored, duplicate, valid (only validated), or the reason of a refusal.",
    labelNames: ["producer", "outcome"],
    registers,
  });
  const batchSignals = new Histogram({
    name: "countersign_batch_signals",
    help: "Signals in one batch for the database.",
    buckets: BATCH_BUCKETS_SIGNALS,
    registers,
  });
  const batchDuration = new Histogram({
    name: "countersign_batch_duration_seconds",
    help: "From a batch's start to the database's answer.",
    buckets: DURATION_BUCKETS_SECONDS,
    registers,
  });
  const storeFailures = new Counter({
    name: "countersign_store_failures_total",
    help: "Batches that failed because the database did not do the work (unavailable), or by a fault of ours (fault).",
    labelNames: ["reason"],
    registers,
  });

  function gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  }
  let batchesInFlight = 0;
  gauge(
    "countersign_batches_in_flight",
    "Batches that wait for the database.",
    () => batchesInFlight,
  );

  // prom-client checks labels each time it is asked for a child, so each is asked for once.
  const signalCounts = new Map<string, Map<string, Counter.Internal>>();

  return {
    requestDone: countRequests(registry),
    authenticationFailed: countAuthenticationFailures(registry),

    signalDone(producer = NO_PRODUCER, result) {
      const byOutcome = innerMap(signalCounts, producer);
      const outcome = signalOutcome(result);
      let count = byOutcome.get(outcome);
      if (count === undefined) {
        count = signals.labels({ producer, outcome });
        byOutcome.set(outcome, count);
      }
      count.inc();
    },

    storeFailed(error) {
      const reason = error instanceof StoreUnavailableError ? "unavailable" : "fault";
      storeFailures.inc({ reason });
    },

    measured: (store) => ({
      async ingest(candidates, timeoutMs) {
        const startMs = monotonicMs();
        batchesInFlight += 1;
        try {
          return await store.ingest(candidates, timeoutMs);
        } finally {
          batchesInFlight -= 1;
          batchSignals.observe(candidates.length);
          batchDuration.observe((monotonicMs() - startMs) / 1_000);
        }
      },
    }),

    watchQueue(count) {
      gauge("countersign_queued_signals", "Signals that wait for a batch to take them.", count);
    },

    watchDatabase(usage) {
      gauge(
        "countersign_database_connections",
        "Connections to the database that are open or being opened.",
        () => usage().connections,
      );
      gauge(
        "countersign_database_statements",
        "Statements that wait for the database's answer, or for a connection.",
        () => usage().statements,
      );
    },

    watchDatabaseProblems(problems) {
      new Gauge({
        name: "countersign_database_problems",
        help: "1 while this keeps signals from being stored, else 0.",
        labelNames: ["problem"],
        registers,
        collect() {
          const found = problems();
          for (const problem of DATABASE_PROBLEMS) {
            this.set({ problem }, found.has(problem) ? 1 : 0);
          }
        },
      });
    },
    watchLog: (dropped) => countDroppedLines(registry, dropped),
    accessReadFailed: accessReadFailures(registry),

    snapshot: () => registry.getMetricsAsJSON(),
  };
}

/** Makes the metrics of requests. @returns what counts one. */
function countRequests(registry: Registry): ServerMetrics["requestDone"] {
  const registers = [registry];
  const requests = new Counter({
    name: "countersign_requests_total",
    help: "Requests by what they came to: a reason of the API, or ok, aborted, unimplemented, or http_ and a status.",
    labelNames: ["protocol", "endpoint", "outcome"],
    registers,
  });
  const requestDuration = new Histogram({
    name: "countersign_request_duration_seconds",
    help: "From the headers of a request to the end of its answer.",
    labelNames: ["protocol", "endpoint"],
    buckets: DURATION_BUCKETS_SECONDS,
    registers,
  });
  // prom-client checks labels each time it is asked for a child, so each is asked for once.
  const requestMetrics = new Map<string, Map<string, RequestMetrics>>();

  function requestMetricsOf(protocol: string, endpoint: string): RequestMetrics {
    const byProtocol = innerMap(requestMetrics, endpoint);
    const known = byProtocol.get(protocol);
    if (known !== undefined) return known;
    const duration = requestDuration.labels({ protocol, endpoint });
    const made: RequestMetrics = { duration, countByOutcome: new Map() };
    byProtocol.set(protocol, made);
    return made;
  }

  return function requestDone(record, httpStatus, durationMs) {
    const { protocol, endpoint = UNKNOWN_ENDPOINT } = record;
    const { countByOutcome, duration } = requestMetricsOf(protocol, endpoint);
    const outcome = requestOutcome(record, httpStatus);
    let count = countByOutcome.get(outcome);
    if (count === undefined) {
      count = requests.labels({ protocol, endpoint, outcome });
      countByOutcome.set(outcome, count);
    }
    count.inc();
    duration.observe(durationMs / 1_000);
  };
}

/** Makes the counter. @returns what counts one. */
function countAuthenticationFailures(registry: Registry): (reason: AuthenticationFailure) => void {
  const failures = new Counter({
    name: "countersign_authentication_failures_total",
    help: "Requests whose sender was not proven, or may not send.",
    labelNames: ["reason"],
    registers: [registry],
  });
  return (reason) => failures.inc({ reason });
}

function countDroppedLines(registry: Registry, dropped: Readonly<DroppedLines>): void {
  new Counter({
    name: "countersign_log_lines_dropped_total",
    help: "Lines that are missing in the log: written too slowly (destination), or beyond what requests without a proven sender have (unproven).",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      this.reset();
      this.inc({ reason: "destination" }, dropped.destination);
      this.inc({ reason: "unproven" }, dropped.unproven);
    },
  });
}

/** Makes the counter. @returns what counts one. */
function accessReadFailures(registry: Registry): () => void {
  const failures = new Counter({
    name: "countersign_access_read_failures_total",
    help: "Times that a process could not read who may do what. After 10 s without it, it refuses everybody.",
    registers: [registry],
  });
  return () => failures.inc();
}

/** The map under a key, which is made when it is first asked for. */
function innerMap<Value>(maps: Map<string, Map<string, Value>>, key: string): Map<string, Value> {
  let map = maps.get(key);
  if (map === undefined) {
    map = new Map();
    maps.set(key, map);
  }
  return map;
}

/** What the first process counts about its workers. */
export interface WorkersMetrics {
  workerEnded(): void;
  snapshot(): Promise<MetricsSnapshot>;
}

/**
 * Makes the metrics of the first process.
 *
 * @param servingCount how many workers serve now.
 * @param dropped the lines that its log has dropped so far.
 */
export function createWorkersMetrics(
  servingCount: () => number,
  dropped: Readonly<DroppedLines>,
): WorkersMetrics {
  const registry = new Registry();
  countDroppedLines(registry, dropped);
  new Gauge({
    name: "countersign_workers",
    help: "Workers that serve.",
    registers: [registry],
    collect() {
      this.set(servingCount());
    },
  });
  const ends = new Counter({
    name: "countersign_worker_ends_total",
    help: "Workers that ended unasked, and were or will be replaced.",
    registers: [registry],
  });
  return {
    workerEnded: () => ends.inc(),
    snapshot: () => registry.getMetricsAsJSON(),
  };
}

/** Metrics of what the first process does for all its workers, or for all servers of a database. */
export interface MaintenanceMetrics {
  signaturesPurged(count: number): void;
  /** As in {@link ServerMetrics}, of the services on the operations port. */
  readonly requestDone: ServerMetrics["requestDone"];
  authenticationFailed(failure: AuthenticationFailure): void;
  /** As in {@link ServerMetrics}, of the first process. */
  accessReadFailed(): void;
  /** @param expiryMs when the certificate in force ends, in milliseconds since 1970. */
  watchCertificate(expiryMs: () => number): void;
  snapshot(): Promise<MetricsSnapshot>;
}

/** Makes them, for a first process. */
export function createMaintenanceMetrics(): MaintenanceMetrics {
  const registry = new Registry();
  const purged = new Counter({
    name: "countersign_purged_request_signatures_total",
    help: "Old request signatures that this server has deleted.",
    registers: [registry],
  });
  return {
    signaturesPurged: (count) => purged.inc(count),
    requestDone: countRequests(registry),
    authenticationFailed: countAuthenticationFailures(registry),
    accessReadFailed: accessReadFailures(registry),
    watchCertificate(expiryMs) {
      new Gauge({
        name: "countersign_tls_certificate_expiry_timestamp_seconds",
        help: "When the TLS certificate in force expires, in seconds since 1970.",
        registers: [registry],
        collect() {
          this.set(expiryMs() / 1_000);
        },
      });
    },
    snapshot: () => registry.getMetricsAsJSON(),
  };
}

function requestOutcome(
  { reason, isUnimplemented }: RequestRecord,
  httpStatus: number | undefined,
): string {
  if (httpStatus === undefined) return "aborted";
  if (reason !== undefined) return reason;
  // Over gRPC such an answer has the HTTP status 200.
  if (isUnimplemented === true) return "unimplemented";
  return httpStatus < 400 ? "ok" : `http_${httpStatus}`;
}

function signalOutcome(result: IngestResult): string {
  switch (result.kind) {
    case "stored":
      return result.duplicate ? "duplicate" : "stored";
    case "valid":
      return "valid";
    case "refused":
      return result.refusal.reason;
  }
}
