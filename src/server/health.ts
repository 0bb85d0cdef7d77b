/**
 * The standard gRPC health service, on the same readiness as `GET /api/v1/ready`.
 */
import { setTimeout as sleep } from "node:timers/promises";
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
/** How long one watch lasts, in milliseconds; a watcher then calls again. No stream is without an end. */
export const WATCH_MAX_MS = 60 * 60 * 1_000;
/** How long a state is taken as current, so that a flood of checks asks the database rarely. */
const READINESS_MAX_AGE_MS = 1_000;

/** Serves Check and Watch. @param isReady whether the server can do its work now. */
export function healthService(
  isReady: () => Promise<boolean>,
  monotonicMs: () => number,
): ServiceImpl<typeof Health> {
  async function status(): Promise<ServingStatus> {
    return (await isReady()) ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }

  return {
    async check({ service }) {
      if (!SERVICES.has(service)) {
        throw new ConnectError("there is no such service", Code.NotFound);
      }
      return create(HealthCheckResponseSchema, { status: await status() });
    },
    async *watch({ service }, { signal }: HandlerContext) {
      const endMs = monotonicMs() + WATCH_MAX_MS;
      let last: ServingStatus | undefined;
      while (!signal.aborted && monotonicMs() < endMs) {
        const current = SERVICES.has(service) ? await status() : ServingStatus.SERVICE_UNKNOWN;
        if (current !== last) yield create(HealthCheckResponseSchema, { status: current });
        last = current;
        await sleep(WATCH_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
      }
      throw new ConnectError("the watch has ended; watch again", Code.Unavailable);
    },
  };
}

/** Asks at most once a second, and once for all who ask at the same time. */
export function cachedReadiness(
  ask: () => Promise<boolean>,
  monotonicMs: () => number,
): () => Promise<boolean> {
  let answer: Promise<boolean> | undefined;
  let askedMs = 0;
  return function isReady() {
    if (answer === undefined || monotonicMs() - askedMs > READINESS_MAX_AGE_MS) {
      askedMs = monotonicMs();
      answer = ask();
    }
    return answer;
  };
}
