/**
 * What stands at each path of both ports, told by the router itself, so that a walk over all of
 * it leaves nothing out. What the endpoints answer is of no use: nothing is behind them.
 */
import type { AccessStore } from "../../../src/access/index.ts";
import type { Ingest } from "../../../src/ingest/index.ts";
import { adminEndpoints } from "../../../src/server/adminEndpoints.ts";
import type { Authenticate } from "../../../src/server/auth/authenticate.ts";
import { authenticateByToken } from "../../../src/server/auth/bearer.ts";
import { systemClock } from "../../../src/server/clock.ts";
import { createRequestLog } from "../../../src/server/http/requestLog.ts";
import { opsEndpoints } from "../../../src/server/ops/opsPort.ts";
import { publicEndpoints } from "../../../src/server/publicPort.ts";
import { silentLog } from "../../support/postgres.ts";
import { aToken } from "./tokens.ts";

/** Takes no signal: nobody may get this far. */
export const never: Ingest = async () => {
  throw new Error("nobody may get this far");
};

/** The one token that is known to these ports. */
export const OWN_TOKEN = aToken();

/** What a port is made of, with nothing behind it. */
export const emptyPort = {
  authenticate: (async () => {
    throw new Error("nobody asks");
  }) as Authenticate,
  authenticateToken: authenticateByToken({
    directory: {
      findToken: (tokenId) => (tokenId === OWN_TOKEN.tokenId ? OWN_TOKEN : undefined),
      isStale: () => false,
    },
  }),
  ingest: never,
  isReady: async () => true,
  monotonicMs: systemClock.monotonicMs,
  requestLog: createRequestLog({ log: silentLog, monotonicMs: systemClock.monotonicMs }),
  version: "0.0.0",
  shutdownSignal: new AbortController().signal,
};

/** The endpoints of the public port by their path. */
export const PUBLIC_ENDPOINTS = publicEndpoints(emptyPort);

/** The endpoints of the operations port by their path. What administers has no store. */
export const OPS_ENDPOINTS = opsEndpoints({
  ...emptyPort,
  metricsText: async () => "",
  services: adminEndpoints({
    ...emptyPort,
    store: {} as AccessStore,
    sealing: { seal: () => undefined, keyId: () => undefined, refresh: async () => {} },
    onChanged: async () => {},
    onRefusedAttempt: () => {},
    now: systemClock.now,
  }),
});
