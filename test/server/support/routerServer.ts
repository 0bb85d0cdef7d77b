/**
 * The edge on a real port, with a domain that does what a test says: for what the real
 * domain never does.
 */
import type { Ingest } from "../../../src/ingest/index.ts";
import { authenticateNobody } from "../../../src/server/auth/authenticate.ts";
import { systemClock } from "../../../src/server/clock.ts";
import { listen } from "../../../src/server/http/listener.ts";
import { createRequestLog } from "../../../src/server/http/requestLog.ts";
import { createLog } from "../../../src/server/ops/log.ts";
import { servePublicPort } from "../../../src/server/publicPort.ts";
import { recordLog } from "../../support/recordLog.ts";
import type { TestServer } from "../../support/server.ts";
import { directoryOf } from "./directory.ts";
import { NO_LIMIT } from "./noLimit.ts";

/** What a test may care about. */
export interface RouterOptions {
  readonly isReady?: () => Promise<boolean>;
  readonly unaryCutAfterMs?: number;
  /** By which strangers get back what they used up. */
  readonly allowanceClock?: () => number;
  /** How long what is under way may take when the server is closed. */
  readonly closeGraceMs?: number;
}

/** Serves on a free port. Requests need no signature. */
export async function startRouter(
  ingest: Ingest,
  {
    isReady = async () => true,
    unaryCutAfterMs,
    allowanceClock = systemClock.monotonicMs,
    closeGraceMs = 1_000,
  }: RouterOptions = {},
): Promise<TestServer> {
  const log = recordLog();
  const shutdown = new AbortController();
  const onRequest = servePublicPort({
    authenticate: authenticateNobody({
      directory: directoryOf(),
      rateLimit: NO_LIMIT,
      now: systemClock.now,
      requireApproval: false,
    }),
    ingest,
    isReady,
    monotonicMs: systemClock.monotonicMs,
    requestLog: createRequestLog({
      log: createLog({ logLevel: "info", hostname: "test" }, log.stream),
      monotonicMs: systemClock.monotonicMs,
      unprovenPerSecond: Number.POSITIVE_INFINITY,
    }),
    version: "0.0.0",
    isLoopbackOnly: false,
    ...(unaryCutAfterMs !== undefined && { unaryCutAfterMs }),
    shutdownSignal: shutdown.signal,
  });
  const address = { host: "127.0.0.1", port: 0, tls: undefined };
  const listener = await listen({ ...address, onRequest, monotonicMs: allowanceClock });
  const { port } = listener.address;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    opsUrl: undefined,
    logLines: log.lines,
    async close() {
      shutdown.abort();
      await listener.close(closeGraceMs);
    },
  };
}
