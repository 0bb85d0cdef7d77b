/**
 * A connection pool that can be thrown away at once.
 *
 * The driver ends a connection politely: it waits for the statements on it, then says
 * goodbye and waits for the server to hang up. A stalled server does neither, and the
 * sockets stay for ever. So the pool makes its sockets itself and can destroy them. Since
 * TLS is made with them, the driver knows nothing of hosts or TLS.
 */
import net from "node:net";
import type { Logger } from "pino";
import postgres from "postgres";
import type { Connect } from "./connection/connect.ts";
import type { DatabaseServer } from "./connection/server.ts";

/** The driver's tagged-template function. `bigint` columns come as `bigint`. */
export type Sql = postgres.Sql<{ bigint: bigint }>;

export interface PoolOptions {
  readonly server: DatabaseServer;
  /** The most connections at a time. */
  readonly size: number;
  /** Whether statements are prepared by name. */
  readonly prepare: boolean;
  /** Settings of the session, sent when a connection starts. */
  readonly sessionSettings: Readonly<Record<string, string | number>>;
  /** Gets PostgreSQL's notices, at level debug. */
  readonly log: Logger;
  /** Called when a connection has ended, whoever ended it. */
  readonly onConnectionEnd?: () => void;
  /** Called for each notification that a session listens for. */
  readonly onNotification?: () => void;
}

export interface Pool {
  readonly sql: Sql;
  /** How many connections are open or being opened. */
  readonly connections: number;
  /** What the server calls its version, once it let a connection in. */
  readonly serverVersion: string | undefined;
  /** Lets running statements finish for at most `timeoutMs`, then destroys the pool. */
  end(timeoutMs: number): Promise<void>;
  /** Drops all connections now. Running statements are rejected; some may still commit. */
  destroy(): void;
}

/**
 * How long the driver waits before it replaces a connection that broke, in seconds. Its
 * own default grows to 20, so that service would come back long after the database.
 */
const RECONNECT_DELAY_SECONDS = 0.1;

/** Statements that are sent ahead on one connection: the driver's own number. */
const MAX_PIPELINE = 100;

/** Opens no connection yet: the first statement does. */
export function createPool(options: PoolOptions): Pool {
  const { server } = options;
  const sockets = createSockets(server.connect);
  const driverOptions: postgres.Options<{ bigint: postgres.PostgresType<bigint> }> & {
    readonly socket: () => Promise<net.Socket>;
    readonly max_pipeline: number;
  } = {
    // Whatever is missing here the driver takes from environment variables.
    user: server.user,
    // An empty text would count as missing.
    password: () => server.password,
    database: server.database,
    // What its messages call the server; it opens no connection itself.
    path: server.address,
    host: "localhost",
    port: 5432,
    ssl: false,
    keep_alive: null,
    max: options.size,
    max_pipeline: MAX_PIPELINE,
    prepare: options.prepare,
    connect_timeout: server.connectTimeoutMs / 1_000,
    backoff: () => RECONNECT_DELAY_SECONDS,
    // A connection is kept until it breaks: what holds a session's lock needs that.
    idle_timeout: undefined,
    max_lifetime: null,
    debug: false,
    connection: options.sessionSettings,
    types: { bigint: postgres.BigInt },
    // The driver would ask for the array types on each new connection, and if that one dies
    // meanwhile, end this process with an unhandled rejection. See values.ts.
    fetch_types: false,
    onnotice: (notice) => options.log.debug({ notice: notice.message }, "database notice"),
    ...(options.onConnectionEnd && { onclose: options.onConnectionEnd }),
    ...(options.onNotification && { onnotify: options.onNotification }),
    socket: sockets.open,
  };
  const sql: Sql = postgres(driverOptions);

  const destroy = () => {
    // Rejects what runs or waits. It need not be awaited, and with a stalled server it
    // might never resolve.
    void sql.end({ timeout: 0 });
    sockets.destroy();
  };

  const end = async (timeoutMs: number) => {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([sql.end({ timeout: timeoutMs / 1000 }), deadline]);
    clearTimeout(timer);
    sockets.destroy();
  };

  return {
    sql,
    get connections() {
      return sockets.count;
    },
    get serverVersion() {
      const version = sql.parameters.server_version;
      return version === undefined ? undefined : String(version);
    },
    end,
    destroy,
  };
}

interface Sockets {
  readonly count: number;
  readonly open: () => Promise<net.Socket>;
  readonly destroy: () => void;
}

function createSockets(connect: Connect): Sockets {
  const sockets = new Set<net.Socket>();
  let destroyed = false;

  function add(socket: net.Socket): void {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    if (destroyed) socket.destroy();
  }

  async function open(): Promise<net.Socket> {
    let socket: net.Socket | undefined;
    const opened = await connect((raw) => {
      socket = raw;
      add(raw);
    });
    if (socket !== undefined && socket !== opened) {
      // Over TLS it is this one that must be destroyed: the driver would still write to it if
      // only the socket below were, and that error would find nobody and end the process.
      sockets.delete(socket);
      add(opened);
    }
    return opened;
  }

  return {
    get count() {
      return sockets.size;
    },
    open: () => open().catch(failedSocket),
    destroy() {
      destroyed = true;
      for (const socket of sockets) {
        socket.destroy();
      }
    },
  };
}

/**
 * A socket that fails as soon as the driver listens. If there were none, the driver would not
 * use the connection again.
 */
function failedSocket(error: Error): net.Socket {
  const socket = new net.Socket();
  setImmediate(() => socket.destroy(error));
  return socket;
}
