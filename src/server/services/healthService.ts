/**
 * The standard gRPC health service, on the same readiness as `GET /api/v1/ready`.
 */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  type Health,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../../gen/grpc/health/v1/health_pb.ts";
import { NO_ADDRESS } from "../http/address.ts";
import { STREAM_MAX_MS } from "../http/deadline.ts";
import type { Caller } from "../http/nodeHttp.ts";
import { createPool } from "../http/pool.ts";
import { callerKey } from "../rpc/rpc.ts";

const SERVICES: ReadonlySet<string> = new Set(["", "signals.v1.IngestService"]);

/** How often a watched state is looked at, in milliseconds. */
const WATCH_INTERVAL_MS = 1_000;
/**
 * Watches at once. Anyone may open one, and each takes memory for as long as it lasts. One
 * more displaces the oldest of the address that has most: a watcher calls again.
 */
const WATCHES_MAX = 256;
/** A client has one for each service that it asks for; ours are two. */
const WATCHES_PER_CONNECTION_MAX = 8;

/** Serves Check and Watch. @param isReady whether the server can do its work now. */
export function healthService(
  isReady: () => Promise<boolean>,
  monotonicMs: () => number,
): ServiceImpl<typeof Health> {
  async function status(): Promise<ServingStatus> {
    return (await isReady()) ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }
  const nextStatus = sharedPoller(status, WATCH_INTERVAL_MS);
  const openWatch = watchOpener();

  return {
    async check({ service }) {
      if (!SERVICES.has(service)) {
        throw new ConnectError("there is no such service", Code.NotFound);
      }
      return create(HealthCheckResponseSchema, { status: await status() });
    },
    async *watch({ service }, { signal, values }: HandlerContext) {
      const watch = openWatch(values.get(callerKey), signal);
      const endMs = monotonicMs() + STREAM_MAX_MS;
      const isKnown = SERVICES.has(service);
      try {
        let current: ServingStatus | undefined = await status();
        let last: ServingStatus | undefined;
        while (current !== undefined && !watch.end.aborted && monotonicMs() < endMs) {
          if (!isKnown) current = ServingStatus.SERVICE_UNKNOWN;
          if (current !== last) yield create(HealthCheckResponseSchema, { status: current });
          last = current;
          current = await nextStatus(watch.end);
        }
      } finally {
        watch.leave();
      }
      throw new ConnectError("the watch has ended; watch again", Code.Unavailable);
    },
  };
}

/** A watch that has a place among all. */
interface Watch {
  /** Is aborted when the watcher is gone, or the place is given to another. */
  readonly end: AbortSignal;
  leave(): void;
}

function watchOpener(): (caller: Caller | undefined, signal: AbortSignal) => Watch {
  const pool = createPool(WATCHES_MAX);
  const countByConnection = new WeakMap<object, number>();
  return function openWatch(caller, signal) {
    const connection = caller?.connection ?? signal;
    const count = countByConnection.get(connection) ?? 0;
    if (count >= WATCHES_PER_CONNECTION_MAX) {
      const message = `there are too many watches on this connection: at most ${WATCHES_PER_CONNECTION_MAX}`;
      throw new ConnectError(message, Code.ResourceExhausted);
    }
    countByConnection.set(connection, count + 1);
    const displaced = new AbortController();
    const place = pool.enter(caller?.address ?? NO_ADDRESS, () => displaced.abort());
    let isOpen = true;
    function leave(): void {
      if (!isOpen) return;
      isOpen = false;
      countByConnection.set(connection, (countByConnection.get(connection) ?? 1) - 1);
      place.leave();
    }
    // A watcher that goes away without reading leaves the method where it yields.
    signal.addEventListener("abort", leave, { once: true });
    return { end: AbortSignal.any([signal, displaced.signal]), leave };
  };
}

/**
 * Looks at a state at intervals while anyone waits, with one timer for all who do.
 *
 * @returns a function that waits for the next look; `undefined` once its signal is aborted.
 */
function sharedPoller<State>(
  look: () => Promise<State>,
  intervalMs: number,
): (signal: AbortSignal) => Promise<State | undefined> {
  const waiting = new Set<(state: Promise<State>) => void>();
  let isTimerSet = false;
  function onInterval(): void {
    isTimerSet = false;
    if (waiting.size === 0) return;
    const state = look();
    for (const resolve of waiting) resolve(state);
    waiting.clear();
  }
  return function next(signal) {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve(undefined);
      function onAbort(): void {
        waiting.delete(onState);
        resolve(undefined);
      }
      function onState(state: Promise<State>): void {
        signal.removeEventListener("abort", onAbort);
        resolve(state);
      }
      signal.addEventListener("abort", onAbort);
      waiting.add(onState);
      if (isTimerSet) return;
      isTimerSet = true;
      setTimeout(onInterval, intervalMs).unref();
    });
  };
}
