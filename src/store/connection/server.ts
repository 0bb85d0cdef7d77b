/** A database server as the pool needs it: who logs in where, and how it is reached. */
import { userInfo } from "node:os";
import {
  type Connect,
  type ConnectOptions,
  connectTo,
  connectToWritable,
  hostText,
} from "./connect.ts";
import { DatabaseUrlError, parseDatabaseUrl } from "./databaseUrl.ts";
import type { DatabaseHost, DatabaseTarget } from "./target.ts";
import { loadTls } from "./tls.ts";

/** Who logs in, and to which database. */
export interface Login {
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** A server that can be connected to. */
export interface DatabaseServer extends Login {
  /** Where it is, as messages call it. */
  readonly address: string;
  readonly connect: Connect;
  /** How long the server may take to let a connection in once it is open. */
  readonly connectTimeoutMs: number;
}

/** What a URL says of the sessions. */
export type SessionTerms = Pick<DatabaseTarget, "applicationName" | "prepare" | "sessionSettings">;

const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
/** With several hosts, one that does not answer must not use up the time of a statement. */
const DEFAULT_CONNECT_TIMEOUT_OF_SEVERAL_MS = 2_000;

/**
 * @param takesWrites whether the one host of a server takes writes; asked if there are several.
 * @throws DatabaseUrlError if the URL is wrong, or a file that it names.
 */
export function resolveServer(
  url: string,
  takesWrites: (server: DatabaseServer) => Promise<boolean>,
): DatabaseServer & SessionTerms {
  const target = parseDatabaseUrl(url);
  const { hosts, user = osUser() } = target;
  const connectTimeoutMs =
    target.connectTimeoutMs ??
    (hosts.length > 1 ? DEFAULT_CONNECT_TIMEOUT_OF_SEVERAL_MS : DEFAULT_CONNECT_TIMEOUT_MS);
  const options: ConnectOptions = {
    secure: loadTls(target.tls),
    timeoutMs: connectTimeoutMs,
    keepAliveMs: target.keepAliveMs,
  };
  const { password = "", database = user, applicationName, prepare, sessionSettings } = target;
  const login = { user, password, database, connectTimeoutMs };
  const only = (host: DatabaseHost) => ({
    ...login,
    address: hostText(host),
    connect: connectTo(host, options),
  });
  const [first, ...others] = hosts;
  if (first === undefined) throw new DatabaseUrlError(["names no host"]);
  const server =
    others.length === 0
      ? only(first)
      : {
          ...login,
          address: hosts.map(hostText).join(","),
          connect: connectToWritable(hosts, options, (host) => takesWrites(only(host))),
        };
  return { ...server, applicationName, prepare, sessionSettings };
}

function osUser(): string {
  try {
    return userInfo().username;
  } catch {
    // An account that has a number but no name.
    throw new DatabaseUrlError(["names no user, and this account has no name: write user@host"]);
  }
}
