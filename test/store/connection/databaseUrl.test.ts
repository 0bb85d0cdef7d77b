import { describe, expect, test } from "vitest";
import { DatabaseUrlError, parseDatabaseUrl } from "../../../src/store/connection/databaseUrl.ts";

const tcp = (host: string, port = 5432) => ({ kind: "tcp", host, port });
const unix = (path: string) => ({ kind: "unix", path });

/** Every secret of the tables below begins so. */
const SECRET = "hunter2";

describe("a URL that is taken", () => {
  test.each<[form: string, url: string, expected: object]>([
    ["a name", "postgres://db.example.com/app", { hosts: [tcp("db.example.com")] }],
    ["the other scheme", "postgresql://localhost", { hosts: [tcp("localhost")] }],
    ["a port", "postgres://localhost:6432/app", { hosts: [tcp("localhost", 6432)] }],
    ["an empty port", "postgres://localhost:/app", { hosts: [tcp("localhost")] }],
    ["an IPv4 address", "postgres://127.0.0.1:5433/app", { hosts: [tcp("127.0.0.1", 5433)] }],
    ["an IPv6 address", "postgres://[::1]:5433/app", { hosts: [tcp("::1", 5433)] }],
    [
      "an IPv6 address, no port",
      "postgres://u:p@[2001:db8::7]/app",
      { hosts: [tcp("2001:db8::7")] },
    ],
    ["an IPv6 zone", "postgres://[fe80::1%25eth0]/app", { hosts: [tcp("fe80::1%eth0")] }],
    [
      "several hosts",
      "postgres://u@a,b:5433,[::1]:5434/app",
      { hosts: [tcp("a"), tcp("b", 5433), tcp("::1", 5434)] },
    ],
    [
      "several hosts with their state",
      "postgres://a,b/app?target_session_attrs=read-write",
      { hosts: [tcp("a"), tcp("b")] },
    ],
    [
      "a socket with a port",
      "postgres://%2Fvar%2Frun:5433/app",
      { hosts: [unix("/var/run/.s.PGSQL.5433")] },
    ],
    [
      "a socket as a parameter",
      "postgres:///app?host=/var/run/&port=5433",
      { hosts: [unix("/var/run/.s.PGSQL.5433")], database: "app", user: undefined },
    ],
    [
      "a socket as a parameter, encoded, before the host",
      "postgres://u:p@localhost:5433/app?host=%2Fvar%2Frun",
      { hosts: [unix("/var/run/.s.PGSQL.5433")], user: "u", password: "p" },
    ],
    [
      "hosts as parameters",
      "postgres:///app?host=a,::1&port=5433,5434",
      { hosts: [tcp("a", 5433), tcp("::1", 5434)] },
    ],
    [
      "one port for all hosts",
      "postgres://a,b/app?port=6432",
      { hosts: [tcp("a", 6432), tcp("b", 6432)] },
    ],
    ["a password with : and #", "postgres://u:a:b#c+d@localhost", { password: "a:b#c+d" }],
    ["nothing but a host", "postgres://localhost", { user: undefined, database: undefined }],
    ["no sslmode", "postgres://a", { tls: expect.objectContaining({ mode: "prefer" }) }],
    [
      "sslmode=require with an authority, which is verify-ca",
      "postgres://a?sslmode=require&sslrootcert=/ca.pem",
      { tls: expect.objectContaining({ mode: "verify-ca" }) },
    ],
    [
      "the authorities of the system",
      "postgres://a?sslmode=verify-full&sslrootcert=system",
      { tls: expect.objectContaining({ mode: "verify-full", rootCertFile: "system" }) },
    ],
    [
      "a client certificate and versions",
      "postgres://a?sslmode=require&sslcert=c.pem&sslkey=k.pem&ssl_min_protocol_version=TLSv1.3",
      {
        tls: expect.objectContaining({
          client: { certFile: "c.pem", keyFile: "k.pem" },
          minVersion: "TLSv1.3",
        }),
      },
    ],
    ["keepalives", "postgres://a?keepalives=1&keepalives_idle=30", { keepAliveMs: 30_000 }],
    ["no keepalives", "postgres://a?keepalives=0", { keepAliveMs: undefined }],
    ["a name to show, else", "postgres://a?fallback_application_name=x", { applicationName: "x" }],
    [
      "options",
      "postgres://a?options=-c%20search_path%3Dx%5C%20y%20--work-mem=8MB%20-capp.tenant%3D7",
      { sessionSettings: { search_path: "x y", work_mem: "8MB", "app.tenant": "7" } },
    ],
    ["no PgBouncer", "postgres://a?pgbouncer=false", { prepare: true }],
    ["no prepared statements", "postgres://a?statement_cache_size=0", { prepare: false }],
    [
      "what happens anyway",
      "postgres://a?channel_binding=prefer&gssencmode=disable&load_balance_hosts=disable&client_encoding=UTF8&target_session_attrs=any",
      { prepare: true },
    ],
  ])("%s: %s", (_, url, expected) => {
    expect(parseDatabaseUrl(url)).toMatchObject(expected);
  });
});

describe("a URL that is refused says why, and shows nothing of the password", () => {
  const base = `postgres://u:${SECRET}@localhost/app`;

  test.each<[url: string, names: RegExp]>([
    ["mysql://u:hunter2@localhost/app", /must be a URL that begins with postgres:\/\//],
    ["hunter2", /must be a URL/],
    ["", /must be a URL/],
    ["postgres:localhost", /must be a URL/],
    // An escape that is none, in every place.
    ["postgres://u:hunter2%@localhost/app", /bad percent escape in the password: write a % as %25/],
    ["postgres://hunter2%zz@localhost/app", /bad percent escape in the user name/],
    ["postgres://u:hunter2%E4@localhost/app", /bad percent escape in the password/],
    ["postgres://u:hunter2%00@localhost/app", /bad percent escape in the password/],
    ["postgres://u:hunter2@localhost/%", /bad percent escape in the name of the database/],
    [`${base}?application_name=%`, /bad percent escape in application_name/],
    // Characters of a password that have a meaning in URLs.
    ["postgres://u:hunter2@hunter2@localhost/app", /write @ as %40/],
    ["postgres://u:hunter2/hunter2@localhost/app", /\/ as %2F/],
    ["postgres://u:hunter2?hunter2=1@localhost/app", /\? as %3F/],
    ["postgres://u:hunter2@hunter2/x@localhost/app", /write @ as %40/],
    ["postgres://u:hunter2/app", /port that is no number from 1 to 65535/],
    // Hosts and ports.
    ["postgres://", /names no host/],
    ["postgres:///app", /names no host: write .*host=\/var\/run/],
    ["postgres://u:hunter2@/app", /names no host/],
    ["postgres://localhost:0/app", /port/],
    ["postgres://localhost:65536/app", /port/],
    ["postgres://localhost:54x2/app", /port/],
    ["postgres://::1/app", /IPv6 address in brackets/],
    ["postgres://[::1/app", /IPv6 address in brackets/],
    ["postgres://[::zz]/app", /IPv6 address in brackets/],
    ["postgres://a,,b/app", /host that is no name/],
    ["postgres://a,b,c/app?port=1,2", /another number of ports than of hosts/],
    ["postgres:///app?host=@abstract", /@ that does not stand before the host/],
    ["postgres:///app?host=%40abstract", /host that is no name/],
    // Parameters.
    ...[
      ...[
        "hostaddr=1.2.3.4",
        "passfile=/p",
        "service=s",
        "servicefile=/s",
        "require_auth=scram-sha-256",
      ],
      ...["sslcrl=/c", "sslcrldir=/c", "sslpassword=hunter2", "sslkeylogfile=/k", "requirepeer=u"],
      ...["krbsrvname=k", "gsslib=gssapi", "keepalives_interval=5", "keepalives_count=3"],
      ...["tcp_user_timeout=100", "oauth_issuer=o", "oauth_client_secret=hunter2"],
      ...["scram_client_key=hunter2", "scram_server_key=hunter2"],
      ...["connection_limit=5", "max=5", "pool_timeout=5", "socket_timeout=5", "idle_timeout=5"],
      ...["max_lifetime=5", "prepare=false", "statement_timeout=5", "sslaccept=strict"],
      ...["sslidentity=x.p12", "currentSchema=s", "search_path=s"],
      ...["channel_binding=require", "gssencmode=require", "gssdelegation=1", "sslcompression=1"],
      ...["sslsni=0", "sslcertmode=require", "sslnegotiation=direct", "replication=database"],
      ...["load_balance_hosts=random", "min_protocol_version=3.2", "client_encoding=LATIN1"],
      ...["target_session_attrs=read-only", "target_session_attrs=standby"],
      ...["target_session_attrs=prefer-standby", "statement_cache_size=100", "pgbouncer=yes"],
      ...["sslmode=allow", "sslmode=VERIFY-FULL", "sslmode=no-verify", "ssl=require"],
      ...["connect_timeout=0", "connect_timeout=1e3", "keepalives=2", "keepalives_idle=0"],
      ...["constructor=1", "synchronous_commit=off", "uselibpqcompat=true", "schema="],
    ].map((parameter): [string, RegExp] => [
      `${base}?${parameter}`,
      new RegExp(`^DATABASE_URL has ${parameter.split("=")[0]}[ =,]`),
    ]),
    [`${base}?sslmode=disable&sslmode=require`, /has sslmode more than once/],
    [`${base}?sslmode`, /has sslmode without a value/],
    [`${base}?a b=c`, /whose name is not one/],
    [`${base}?sslrootcert=/ca.pem`, /has sslrootcert, which protects nothing without sslmode/],
    [`${base}?sslmode=prefer&sslcert=c&sslkey=k`, /has sslcert, which protects nothing/],
    [`${base}?sslmode=require&sslcert=c`, /has only one of sslcert and sslkey/],
    [`${base}?sslmode=verify-ca`, /has sslmode=verify-ca without an authority/],
    [`${base}?sslmode=verify-ca&sslrootcert=system`, /has sslmode=verify-ca without an authority/],
    [
      `${base}?sslmode=require&sslrootcert=system`,
      /sslrootcert=system, which needs sslmode=verify-full/,
    ],
    [
      `${base}?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2`,
      /ssl_min_protocol_version above/,
    ],
    [`${base}?ssl_min_protocol_version=TLSv1`, /ssl_min_protocol_version with a value/],
    [`${base}?options=-c%20DateStyle%3DGerman`, /has datestyle in options/],
    [`${base}?options=endpoint%3Dx`, /options that are not of the form -c name=value/],
    [`${base}?options=-c`, /options that are not of the form/],
    [`${base}?schema=a&options=-csearch_path%3Db`, /has schema and, in options, search_path/],
    [`${base}?pgbouncer=true&schema=a`, /pgbouncer=true together with schema or options/],
  ])("%s", (url, names) => {
    const message = messageOf(url);
    expect(message).toMatch(names);
    expect(message).toMatch(/^DATABASE_URL /);
    expect(message).not.toContain(SECRET);
  });

  test("all that is wrong at once", () => {
    const message = messageOf(`${base}?channel_binding=require&connection_limit=5&sslmode=allow`);
    for (const name of ["channel_binding", "connection_limit", "sslmode=allow"]) {
      expect(message).toContain(name);
    }
  });
});

function messageOf(url: string): string {
  try {
    parseDatabaseUrl(url);
  } catch (error) {
    expect(error).toBeInstanceOf(DatabaseUrlError);
    return (error as Error).message;
  }
  throw new Error("It was taken");
}
