/**
 * The standard gRPC health service, on the same readiness as `GET /api/v1/ready`.
 */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  type Health,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../gen/grpc/health/v1/health_pb.ts";

const SERVICES: ReadonlySet<string> = new Set(["", "signals.v1.IngestService"]);

/** How often a watched state is looked at, in milliseconds. */
const WATCH_INTERVAL_MS = 1_000;
/** Watches at once. Anyone may open one, and each takes memory for as long as it lasts. */
const WATCHES_MAX = 256;
/** How long one watch lasts, in milliseconds; a watcher then calls again. No stream is without an end. */
export const WATCH_MAX_MS = 60 * 60 * 1_000;

/** Serves Check and Watch. @param isReady whether the server can do its work now. */
export function healthService(
  isReady: () => Promise<boolean>,
  monotonicMs: () => number,
): ServiceImpl<typeof Health> {
  async function status(): Promise<ServingStatus> {
    return (await isReady()) ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }
  const nextStatus = sharedPoller(status, WATCH_INTERVAL_MS);
  /** The signals of the watches that are open. */
  const watches = new Set<AbortSignal>();

  return {
    async check({ service }) {
      if (!SERVICES.has(service)) {
        throw new ConnectError("there is no such service", Code.NotFound);
      }
      return create(HealthCheckResponseSchema, { status: await status() });
    },
    async *watch({ service }, { signal }: HandlerContext) {
      if (watches.size >= WATCHES_MAX) {
        throw new ConnectError("there are too many watches", Code.ResourceExhausted);
      }
      watches.add(signal);
      // A watcher that goes away without reading leaves this function where it yields.
      signal.addEventListener("abort", () => watches.delete(signal), { once: true });
      const endMs = monotonicMs() + WATCH_MAX_MS;
      const isKnown = SERVICES.has(service);
      try {
        let current: ServingStatus | undefined = await status();
        let last: ServingStatus | undefined;
        while (current !== undefined && !signal.aborted && monotonicMs() < endMs) {
          if (!isKnown) current = ServingStatus.SERVICE_UNKNOWN;
          if (current !== last) yield create(HealthCheckResponseSchema, { status: current });
          last = current;
          current = await nextStatus(signal);
        }
      } finally {
        watches.delete(signal);
      }
      throw new ConnectError("the watch has ended; watch again", Code.Unavailable);
    },
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
