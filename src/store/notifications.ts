/**
 * PostgreSQL's notifications, over a connection of their own.
 *
 * They only wake somebody who looks by himself as well: they are lost while the connection
 * is away, and behind PgBouncer there are none, since they belong to a session. Nothing ever
 * waits for this connection, and what goes wrong with it is told in the log alone.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { DatabaseServer, SessionTerms } from "./connection/server.ts";
import { toStoreUnavailableError, withDeadline } from "./failure.ts";
import { findServer } from "./findServer.ts";
import { createPool } from "./pool.ts";
import { NO_FACTS, sessionSettings } from "./session.ts";

export interface NotificationsOptions {
  /** As for {@link openDatabase}. */
  readonly url: string;
  /** A lower-case name of letters, digits and `_`. */
  readonly channel: string;
  /**
   * Called for each notification, and when one may have been missed: at the start, and
   * whenever the connection is back. It may not throw.
   */
  readonly onWake: () => void;
  readonly log: Logger;
  /**
   * How often the connection is tried, in milliseconds. A silent one may have lost its other
   * end. Default 5,000.
   */
  readonly checkIntervalMs?: number;
  /** How long the answer to that may take, in milliseconds. Default 2,000. */
  readonly checkTimeoutMs?: number;
}

export interface Notifications {
  /** Ends at once, whatever the database does. After it, `onWake` is not called again. */
  close(): Promise<void>;
}

const DEFAULT_CHECK_INTERVAL_MS = 5_000;
const DEFAULT_CHECK_TIMEOUT_MS = 2_000;

/** The pause before a new connection: twice as long each time, less up to half by chance. */
const PAUSE_MIN_MS = 200;
const PAUSE_MAX_MS = 10_000;
/** How long a connection must have lasted for the pauses to begin anew. */
const STEADY_MS = 30_000;

/**
 * Listens until it is closed. Connects again whenever that is needed, for as long as it takes.
 *
 * @throws DatabaseUrlError if the URL is wrong, or a file that it names.
 */
export function listenToChannel(options: NotificationsOptions): Notifications {
  const server = findServer(options.url, options.log);
  if (!server.prepare) {
    options.log.debug({ channel: options.channel }, "there are no notifications behind PgBouncer");
    return { close: async () => undefined };
  }
  const closing = new AbortController();
  const ended = keepListening(server, options, closing.signal);
  return {
    async close() {
      closing.abort();
      await ended;
    },
  };
}

async function keepListening(
  server: DatabaseServer & SessionTerms,
  options: NotificationsOptions,
  closing: AbortSignal,
): Promise<void> {
  const log = options.log.child({ channel: options.channel });
  let isLost = false;
  let failures = 0;

  function onListening(): void {
    // Once for each time that it was told as lost.
    if (isLost) log.info("database notifications are back");
    isLost = false;
    options.onWake();
  }

  while (!closing.aborted) {
    const startMs = performance.now();
    const cause = await listenUntilLost(server, options, closing, onListening);
    if (closing.aborted) return;
    if (!isLost) log.warn({ cause }, "database notifications are lost, others look without them");
    isLost = true;
    failures = performance.now() - startMs < STEADY_MS ? failures + 1 : 1;
    await sleep(pauseMs(failures), undefined, { signal: closing }).catch(() => undefined);
  }
}

function pauseMs(failures: number): number {
  const wholeMs = Math.min(PAUSE_MIN_MS * 2 ** (failures - 1), PAUSE_MAX_MS);
  return wholeMs * (1 - Math.random() / 2);
}

/**
 * Listens on one connection for as long as it works.
 *
 * @param onListening called when it does.
 * @returns why it ended.
 */
async function listenUntilLost(
  server: DatabaseServer & SessionTerms,
  options: NotificationsOptions,
  closing: AbortSignal,
  onListening: () => void,
): Promise<string> {
  const { checkIntervalMs = DEFAULT_CHECK_INTERVAL_MS, checkTimeoutMs = DEFAULT_CHECK_TIMEOUT_MS } =
    options;
  const lost = new AbortController();
  const over = AbortSignal.any([lost.signal, closing]);
  const applicationName = `${server.applicationName ?? "countersign"} notifications`;
  const pool = createPool({
    server,
    size: 1,
    prepare: false,
    sessionSettings: {
      ...sessionSettings({ applicationName, isPooled: false }, NO_FACTS),
      ...server.sessionSettings,
    },
    log: options.log,
    // A statement that was under way is told first, and knows more.
    onConnectionEnd: () => setImmediate(() => lost.abort(new Error("The connection ended"))),
    onNotification: () => {
      if (!over.aborted) options.onWake();
    },
  });
  const ended = new Promise<never>((_, reject) => {
    over.addEventListener("abort", () => reject(over.reason), { once: true });
  });
  // It may end while nobody waits for it.
  ended.catch(() => undefined);
  // To listen again changes nothing, so that it serves as the question whether it is heard, too.
  const listen = (timeoutMs: number) =>
    Promise.race([ended, withDeadline(timeoutMs, pool.sql`LISTEN ${pool.sql(options.channel)}`)]);
  try {
    await listen(server.connectTimeoutMs + checkTimeoutMs);
    onListening();
    while (true) {
      await Promise.race([ended, sleep(checkIntervalMs, undefined, { signal: over })]);
      await listen(checkTimeoutMs);
    }
  } catch (error) {
    return toStoreUnavailableError(error).message;
  } finally {
    pool.destroy();
  }
}
