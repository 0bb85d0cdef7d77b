/**
 * A connection pool that can be thrown away at once.
 *
 * The driver ends a connection politely: it waits for the statements on it, then says
 * goodbye and waits for the server to hang up. A stalled server does neither, and the
 * sockets stay for ever. So the pool makes its sockets itself and can destroy them.
 */
import net from "node:net";
import type { Logger } from "pino";
import postgres from "postgres";

/** The driver's tagged-template function. `bigint` columns come as `bigint`. */
export type Sql = postgres.Sql<{ bigint: bigint }>;

export interface PoolOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string;
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
}

export interface Pool {
  readonly sql: Sql;
  /** How many connections are open or being opened. */
  readonly connections: number;
  /** Lets running statements finish for at most `timeoutMs`, then destroys the pool. */
  end(timeoutMs: number): Promise<void>;
  /** Drops all connections now. Running statements are rejected; some may still commit. */
  destroy(): void;
}

/** How long one attempt to connect may take, in seconds. */
const CONNECT_TIMEOUT_SECONDS = 10;

/**
 * How long the driver waits before it replaces a connection that broke, in seconds. Its
 * own default grows to 20, so that service would come back long after the database.
 */
const RECONNECT_DELAY_SECONDS = 0.1;

/** Opens no connection yet: the first statement does. */
export function createPool(options: PoolOptions): Pool {
  const sockets = createSockets();
  const driverOptions: postgres.Options<{ bigint: postgres.PostgresType<bigint> }> & {
    readonly socket: (target: ConnectTarget) => net.Socket;
  } = {
    max: options.size,
    prepare: options.prepare,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    backoff: () => RECONNECT_DELAY_SECONDS,
    // A connection is kept until it breaks: what holds a session's lock needs that.
    idle_timeout: undefined,
    max_lifetime: null,
    connection: options.sessionSettings,
    types: { bigint: postgres.BigInt },
    // The driver would ask for the array types on each new connection, and if that one dies
    // meanwhile, end this process with an unhandled rejection. See arrays.ts.
    fetch_types: false,
    onnotice: (notice) => options.log.debug({ notice: notice.message }, "database notice"),
    ...(options.onConnectionEnd && { onclose: options.onConnectionEnd }),
    socket: sockets.open,
  };
  const sql: Sql = postgres(options.url, driverOptions);

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
    end,
    destroy,
  };
}

/** Where the driver wants to connect: a Unix socket's path, or hosts with their ports. */
interface ConnectTarget {
  readonly path: string | undefined | false;
  readonly host: readonly string[];
  readonly port: readonly number[];
}

interface Sockets {
  readonly count: number;
  readonly open: (target: ConnectTarget) => net.Socket;
  readonly destroy: () => void;
}

function createSockets(): Sockets {
  const sockets = new Set<net.Socket>();
  let destroyed = false;
  let attempts = 0;

  const open = (target: ConnectTarget) => {
    const index = attempts % target.host.length;
    attempts += 1;
    const socket = new net.Socket();
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // The driver checks a certificate against this name.
    Object.assign(socket, { host: target.host[index], port: target.port[index] });
    // The driver adds its listeners after this function returns and buffers what it
    // writes, so connecting a moment later means that it misses no event.
    setImmediate(() => {
      if (destroyed) {
        socket.destroy();
      } else if (target.path) {
        socket.connect(target.path);
      } else {
        socket.connect(target.port[index] ?? 5432, target.host[index] ?? "localhost");
      }
    });
    return socket;
  };

  const destroy = () => {
    destroyed = true;
    for (const socket of sockets) {
      socket.destroy();
    }
  };

  return {
    get count() {
      return sockets.size;
    },
    open,
    destroy,
  };
}
