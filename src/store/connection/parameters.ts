/**
 * The parameters of a PostgreSQL URL: those of libpq (PostgreSQL 18 documentation, section
 * 34.1.2) and those that other programs made common. Each is taken, or refused with the
 * reason.
 */
import type { DatabaseTarget, TlsMode, TlsTerms } from "./target.ts";

type Written = ReadonlyMap<string, string>;

/** What the parameters say. Host, user, password and database are read with the rest of the URL. */
type Parameters = Omit<DatabaseTarget, "hosts" | "user" | "password" | "database">;

/** Refused whatever their value is. The text goes on after the parameter's name. */
const REFUSED: Readonly<Record<string, string>> = {
  hostaddr: "write the address in the place of the host",
  passfile: "files of passwords are not read; write the password into the URL",
  service: "files of services are not read; write out what it stands for",
  servicefile: "files of services are not read; write out what it stands for",
  require_auth:
    "the driver takes the method that the server asks for; use sslmode=verify-full to be sure of the server",
  sslcrl: "revocation lists are not looked at",
  sslcrldir: "revocation lists are not looked at",
  sslpassword: "an encrypted key is not taken; decrypt it, and let only this account read it",
  sslkeylogfile: "keys of TLS are not written anywhere",
  requirepeer: "the owner of the server is not looked at; protect the directory of the socket",
  krbsrvname: "GSSAPI is not available; use a password or a client certificate",
  gsslib: "GSSAPI is not available; use a password or a client certificate",
  keepalives_interval: "the interval is 1 s; keepalives_idle can be set",
  keepalives_count: "the count is 10; keepalives_idle can be set",
  tcp_user_timeout: "every statement has a deadline of its own",
  oauth_issuer: "OAuth is not available; use a password or a client certificate",
  oauth_client_id: "OAuth is not available; use a password or a client certificate",
  oauth_client_secret: "OAuth is not available; use a password or a client certificate",
  oauth_scope: "OAuth is not available; use a password or a client certificate",
  scram_client_key: "write the password",
  scram_server_key: "write the password",
  connection_limit: "set DATABASE_POOL_SIZE instead",
  max: "set DATABASE_POOL_SIZE instead",
  pool_timeout: "every request has a deadline of its own",
  socket_timeout: "every statement has a deadline of its own",
  statement_timeout: "every statement has a deadline of its own",
  idle_timeout: "connections are kept",
  max_lifetime: "connections are kept until they break",
  prepare: "write pgbouncer=true if there is a PgBouncer in transaction mode, else nothing",
  sslaccept: "write sslmode=verify-full for strict, or sslmode=require to take any certificate",
  sslidentity: "write sslcert and sslkey, as PEM files",
  currentSchema: "write schema instead",
  search_path: "write schema instead",
};

/** Taken with one of these values only, which are what happens anyway. */
const FIXED: Readonly<
  Record<string, { readonly values: readonly string[]; readonly why: string }>
> = {
  channel_binding: {
    values: ["disable", "prefer"],
    why: "the driver cannot bind to the channel; leave it out, and use sslmode=verify-full to be sure of the server",
  },
  gssencmode: { values: ["disable", "prefer"], why: "GSSAPI is not available; use TLS" },
  gssdelegation: { values: ["0"], why: "GSSAPI is not available" },
  sslcompression: { values: ["0"], why: "compression makes TLS unsafe" },
  sslsni: { values: ["1"], why: "the name of the host is always sent" },
  sslcertmode: { values: ["allow"], why: "a client certificate is sent if the server asks for it" },
  sslnegotiation: {
    values: ["postgres"],
    why: "TLS is asked for as in all versions of PostgreSQL",
  },
  replication: { values: ["false", "off", "no", "0"], why: "this is no replication client" },
  load_balance_hosts: { values: ["disable"], why: "hosts are tried in their order" },
  min_protocol_version: { values: ["3.0"], why: "the driver speaks 3.0" },
  max_protocol_version: { values: ["3.0", "latest"], why: "the driver speaks 3.0" },
  client_encoding: {
    values: ["UTF8", "utf8", "UTF-8", "utf-8", "auto"],
    why: "all texts are UTF-8",
  },
  target_session_attrs: {
    values: ["any", "read-write", "primary"],
    why: "signals are stored, so the server must take writes; of several hosts the first that does is used",
  },
};

/** Read with what they belong to. */
const READ = new Set([
  ...["host", "port", "user", "password", "dbname"],
  ...["ssl", "sslmode", "sslrootcert", "sslcert", "sslkey"],
  ...["ssl_min_protocol_version", "ssl_max_protocol_version"],
  ...["connect_timeout", "keepalives", "keepalives_idle"],
  ...["application_name", "fallback_application_name", "options", "schema"],
  ...["pgbouncer", "statement_cache_size"],
]);

/** Settings that `options` may have: they change neither what is stored nor how it is read. */
const SETTINGS = new Set([
  ...["search_path", "role", "synchronous_commit", "work_mem", "jit"],
  ...["tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"],
  "tcp_user_timeout",
]);

const TLS_MODES: readonly string[] = [
  "disable",
  "prefer",
  "require",
  "verify-ca",
  "verify-full",
] satisfies TlsMode[];

const DEFAULT_KEEP_ALIVE_SECONDS = 60;

/** @param problems gets what is wrong; then the result is not to be used. */
export function readParameters(written: Written, problems: string[]): Parameters {
  for (const [name, value] of written) {
    const problem = refusal(name, value);
    if (problem !== undefined) problems.push(problem);
  }
  const prepare = readPrepare(written, problems);
  const sessionSettings = readSessionSettings(written, problems);
  if (written.get("pgbouncer") === "true" && Object.keys(sessionSettings).length > 0) {
    problems.push(
      "has pgbouncer=true together with schema or options, which PgBouncer does not pass on: set them by ALTER ROLE … SET",
    );
  }
  const connectTimeout = readSeconds(written, "connect_timeout", 1, 60, problems);
  const keepAlive =
    readSeconds(written, "keepalives_idle", 1, 86_400, problems) ?? DEFAULT_KEEP_ALIVE_SECONDS;
  const isKeptAlive = readOneOf(written, "keepalives", ["0", "1"], problems) !== "0";
  return {
    tls: readTls(written, problems),
    connectTimeoutMs: connectTimeout && connectTimeout * 1_000,
    keepAliveMs: isKeptAlive ? keepAlive * 1_000 : undefined,
    applicationName: written.get("application_name") ?? written.get("fallback_application_name"),
    prepare,
    sessionSettings,
  };
}

function refusal(name: string, value: string): string | undefined {
  if (READ.has(name)) return undefined;
  const reason = Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
  if (reason !== undefined) return `has ${name}, which is not supported: ${reason}`;
  const fixed = Object.hasOwn(FIXED, name) ? FIXED[name] : undefined;
  if (fixed === undefined) {
    return `has ${name}, which is no parameter of libpq: leave it out; a setting of the session goes into options=-c%20name%3Dvalue`;
  }
  if (fixed.values.includes(value)) return undefined;
  return `has ${name} with a value that is not supported: ${fixed.why} (possible: ${fixed.values.join(", ")})`;
}

function readTls(written: Written, problems: string[]): TlsTerms {
  const mode = readTlsMode(written, problems);
  const rootCertFile = written.get("sslrootcert");
  const certFile = written.get("sslcert");
  const keyFile = written.get("sslkey");
  const isStrict = mode !== "disable" && mode !== "prefer";
  for (const name of ["sslrootcert", "sslcert", "sslkey"]) {
    if (written.get(name) === "") problems.push(`has ${name} without a file`);
    if (written.has(name) && !isStrict) {
      problems.push(
        `has ${name}, which protects nothing without sslmode=verify-full (or verify-ca, or require)`,
      );
    }
  }
  if ((certFile === undefined) !== (keyFile === undefined)) {
    problems.push("has only one of sslcert and sslkey: each needs the other");
  }
  if (mode === "verify-ca" && (rootCertFile === undefined || rootCertFile === "system")) {
    problems.push(
      "has sslmode=verify-ca without an authority of its own, which any public certificate would satisfy: add sslrootcert=/path/to/ca.pem, or use sslmode=verify-full",
    );
  }
  if (mode === "require" && rootCertFile === "system") {
    problems.push("has sslrootcert=system, which needs sslmode=verify-full");
  }
  const versions = ["TLSv1.2", "TLSv1.3"] as const;
  const minVersion = readOneOf(written, "ssl_min_protocol_version", versions, problems);
  const maxVersion = readOneOf(written, "ssl_max_protocol_version", versions, problems);
  if (minVersion === "TLSv1.3" && maxVersion === "TLSv1.2") {
    problems.push("has ssl_min_protocol_version above ssl_max_protocol_version");
  }
  return {
    // As in libpq: who names an authority wants the certificate to come from it.
    mode: mode === "require" && rootCertFile !== undefined ? "verify-ca" : mode,
    rootCertFile,
    client: certFile !== undefined && keyFile !== undefined ? { certFile, keyFile } : undefined,
    minVersion: minVersion ?? "TLSv1.2",
    maxVersion: maxVersion ?? "TLSv1.3",
  };
}

/** The default is libpq's: TLS if the server has it, and no protection from those between. */
function readTlsMode(written: Written, problems: string[]): TlsMode {
  // The form of JDBC, which libpq takes too.
  const ssl = readOneOf(written, "ssl", ["true"], problems, "; sslmode says what is wanted");
  const mode = written.get("sslmode") ?? (ssl === undefined ? "prefer" : "require");
  if (TLS_MODES.includes(mode)) return mode as TlsMode;
  const why =
    mode === "allow"
      ? "has sslmode=allow, which would use TLS only where clear text is refused: use prefer, or better verify-full"
      : "has sslmode with a value that does not exist";
  problems.push(`${why} (possible: ${TLS_MODES.join(", ")})`);
  return "prefer";
}

function readPrepare(written: Written, problems: string[]): boolean {
  const isPooled = readOneOf(written, "pgbouncer", ["true", "false"], problems) === "true";
  const why = ", which says not to prepare statements; there is no other limit to them";
  const size = readOneOf(written, "statement_cache_size", ["0"], problems, why);
  return !isPooled && size === undefined;
}

function readSessionSettings(written: Written, problems: string[]): Record<string, string> {
  const settings = readOptions(written.get("options") ?? "", problems);
  const schema = written.get("schema");
  if (schema === undefined) return settings;
  if (schema === "") problems.push("has schema without a name");
  if (settings.search_path !== undefined) {
    problems.push("has schema and, in options, search_path: say it once");
  }
  return { ...settings, search_path: `"${schema.replaceAll('"', '""')}"` };
}

/** Settings in the form of a server's command line: `-c name=value` or `--name=value`. */
function readOptions(options: string, problems: string[]): Record<string, string> {
  // A backslash takes its meaning from the next character, also from a space.
  const words = [...options.matchAll(/(?:\\.|[^\s\\])+/gs)].map(([word]) =>
    word.replace(/\\(.)/gs, "$1"),
  );
  const settings: Record<string, string> = {};
  for (let index = 0; index < words.length; index += 1) {
    let word = words[index] ?? "";
    if (word === "-c") {
      index += 1;
      word = `-c${words[index] ?? ""}`;
    }
    const match = /^(?:-c|--)([A-Za-z][A-Za-z0-9_.-]{0,62})=(.+)$/s.exec(word);
    const name = match?.[1]?.replaceAll("-", "_").toLowerCase();
    if (name === undefined) {
      problems.push("has options that are not of the form -c name=value (percent-encoded)");
    } else if (!SETTINGS.has(name) && !name.includes(".")) {
      problems.push(
        `has ${name} in options, which is not for a client of this service to set (possible: ${[...SETTINGS].join(", ")}, and names with a dot)`,
      );
    } else {
      settings[name] = match?.[2] ?? "";
    }
  }
  return settings;
}

function readSeconds(
  written: Written,
  name: string,
  min: number,
  max: number,
  problems: string[],
): number | undefined {
  const text = written.get(name);
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (!/^\d{1,9}$/.test(text) || seconds < min || seconds > max) {
    problems.push(`has ${name} with a value that is no number of seconds from ${min} to ${max}`);
  }
  return seconds;
}

function readOneOf<Value extends string>(
  written: Written,
  name: string,
  values: readonly Value[],
  problems: string[],
  why = "",
): Value | undefined {
  const text = written.get(name);
  if (text === undefined) return undefined;
  const value = values.find((one) => one === text);
  if (value === undefined) {
    problems.push(
      `has ${name} with a value that is not supported${why} (possible: ${values.join(", ")})`,
    );
  }
  return value;
}
