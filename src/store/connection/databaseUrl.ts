/**
 * What a PostgreSQL URL says, as explicit values: the form is libpq's (PostgreSQL 18
 * documentation, section 34.1.1.2), and the driver never sees the URL.
 *
 * Left to itself, the driver takes parameters that it does not know for settings of the
 * session, fills what is missing from environment variables, and splits IPv6 addresses at
 * their colons. Here each parameter works as PostgreSQL documents it, or is refused by name.
 *
 * Pure. No message has a part of the URL in it that could belong to the password, so values
 * are shown only if they are of a closed list.
 */
import { isIP } from "node:net";
import { readParameters } from "./parameters.ts";
import type { DatabaseHost, DatabaseTarget } from "./target.ts";

/** The URL cannot be used. The message says why and what to write, and has no secret in it. */
export class DatabaseUrlError extends Error {
  override readonly name = "DatabaseUrlError";
  /** What is wrong, each as the end of a sentence that begins with the variable's name. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.map((problem) => `DATABASE_URL ${problem}`).join("; "));
    this.problems = problems;
  }
}

const DEFAULT_PORT = 5432;

/** @throws DatabaseUrlError naming all that is wrong. */
export function parseDatabaseUrl(url: string): DatabaseTarget {
  const { userInfo, hostList, path, query } = split(url);
  const [nameText, passwordText] = splitOnce(userInfo, ":");
  const problems: string[] = [];
  const decode = (text: string, what: string): string => {
    const decoded = decodePercent(text);
    if (decoded !== undefined) return decoded;
    problems.push(`has a bad percent escape in ${what}: write a % as %25; %00 is not possible`);
    return "";
  };
  const user = decode(nameText, "the user name");
  const password = decode(passwordText ?? "", "the password");
  const database = decode(path, "the name of the database");
  const written = readQuery(query, problems);
  const parameters = readParameters(written, problems);
  const hosts = readHosts(hostList, written, problems);
  if (problems.length > 0) throw new DatabaseUrlError(problems);
  return {
    hosts,
    user: (written.get("user") ?? user) || undefined,
    password: (written.get("password") ?? password) || undefined,
    database: (written.get("dbname") ?? database) || undefined,
    ...parameters,
  };
}

interface UrlParts {
  readonly userInfo: string;
  readonly hostList: string;
  readonly path: string;
  readonly query: string;
}

/** Cuts the URL as libpq does: no character but these has a meaning, not even `#`. */
function split(url: string): UrlParts {
  const match = /^postgres(?:ql)?:\/\/([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(url);
  if (match === null) {
    throw new DatabaseUrlError(["must be a URL that begins with postgres:// or postgresql://"]);
  }
  const [, authority = "", path = "", query = ""] = match;
  const at = authority.indexOf("@");
  // Behind a password that such a character cuts, anything may be a part of it.
  if (at !== authority.lastIndexOf("@") || /@/.test(path + query)) {
    throw new DatabaseUrlError([
      "has an @ that does not stand before the host: in names, passwords and values, write @ as %40, / as %2F, ? as %3F, : as %3A and % as %25",
    ]);
  }
  return {
    userInfo: authority.slice(0, Math.max(at, 0)),
    hostList: authority.slice(at + 1),
    path,
    query,
  };
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const index = text.indexOf(separator);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}

/** @returns `undefined` if it is not what percent-encoding gives. */
function decodePercent(text: string): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    return decoded.includes("\0") ? undefined : decoded;
  } catch {
    return undefined;
  }
}

/** The parameters as they are written, each at most once. A `+` is no space here. */
function readQuery(query: string, problems: string[]): ReadonlyMap<string, string> {
  const written = new Map<string, string>();
  for (const pair of query.split("&").filter((text) => text !== "")) {
    const [nameText, valueText] = splitOnce(pair, "=");
    const name = decodePercent(nameText) ?? "";
    if (!/^[A-Za-z][A-Za-z0-9_.-]{0,62}$/.test(name)) {
      problems.push(
        "has a parameter after the ? whose name is not one: write name=value&name=value",
      );
      continue;
    }
    const value = valueText === undefined ? undefined : decodePercent(valueText);
    if (value === undefined) {
      problems.push(
        valueText === undefined
          ? `has ${name} without a value: write ${name}=…`
          : `has a bad percent escape in ${name}: write a % as %25`,
      );
    } else if (written.has(name)) {
      problems.push(`has ${name} more than once`);
    } else {
      written.set(name, value);
    }
  }
  return written;
}

/** The hosts of the URL's middle, or those of the parameters, which go before them. */
function readHosts(
  hostList: string,
  written: ReadonlyMap<string, string>,
  problems: string[],
): readonly DatabaseHost[] {
  const named = hostList === "" ? [] : hostList.split(",").map(splitHost);
  const hostNames = written.get("host")?.split(",") ?? named.map(({ host }) => host);
  const ports = written.get("port")?.split(",") ?? named.map(({ port }) => port);
  if (hostNames.length === 0 || (hostNames.length === 1 && hostNames[0] === "")) {
    problems.push(
      "names no host: write postgres://user:password@host:5432/database, or ?host=/var/run/postgresql for a Unix-domain socket",
    );
    return [];
  }
  if (ports.length > 1 && ports.length !== hostNames.length) {
    problems.push("has another number of ports than of hosts");
    return [];
  }
  return hostNames.flatMap((name, index) => {
    const host = readHost(name, ports.length === 1 ? ports[0] : ports[index]);
    if (typeof host !== "string") return [host];
    if (!problems.includes(host)) problems.push(host);
    return [];
  });
}

function splitHost(text: string): { readonly host: string; readonly port: string } {
  const match = /^(?:\[([^\]]*)\]|([^:[]*))(?::([^:]*))?$/s.exec(text);
  // An IPv6 address without its brackets: as it stands, it is taken for no host.
  if (match === null) return { host: `[${text}`, port: "" };
  const [, address, name = "", port = ""] = match;
  return { host: decodePercent(address ?? name) ?? text, port };
}

/** @returns what is wrong with it as a text. */
function readHost(host: string, portText = ""): DatabaseHost | string {
  // Without it, libpq takes its default.
  const port = portText === "" ? DEFAULT_PORT : Number(portText);
  if (!/^\d{0,5}$/.test(portText) || port < 1 || port > 65_535) {
    return "has a port that is no number from 1 to 65535 (in a user name or password, write : as %3A, / as %2F and ? as %3F)";
  }
  if (host.startsWith("/")) {
    return { kind: "unix", path: `${host.replace(/\/+$/, "")}/.s.PGSQL.${port}` };
  }
  const isName = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})$/.test(host);
  if (isName || isIP(host) !== 0) return { kind: "tcp", host, port };
  return "has a host that is no name and no address: write an IPv6 address in brackets, as [::1], and the directory of a Unix-domain socket as %2Fvar%2Frun or ?host=/var/run";
}
