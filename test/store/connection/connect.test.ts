/** What `DATABASE_URL` says, done: over TLS, Unix-domain sockets, IPv6 and several hosts. */
import { writeFile } from "node:fs/promises";
import net from "node:net";
import { networkInterfaces } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type Database, openDatabase } from "../../../src/store/index.ts";
import { createTestCluster, type TestCluster } from "../../support/cluster.ts";
import { listen } from "../../support/listen.ts";
import { runOnServer, silentLog } from "../../support/postgres.ts";
import { makeTemporaryDir, type TemporaryDir } from "../temporaryDir.ts";
import {
  type CertificateFiles,
  giveToPostgres,
  makeAuthority,
  makeCertificate,
} from "./certificates.ts";

const TIMEOUT_MS = 10_000;
const PASSWORD = "p@ss w/?#%:ä'";
const hasIPv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "::1"),
);

let dir: TemporaryDir;
let authority: CertificateFiles;
let stranger: CertificateFiles;
let client: CertificateFiles;
let cluster: TestCluster;
/** Where the cluster is, and who may do everything there. */
let postgres: { user: string; password: string; port: string; socketDir: string };

beforeAll(async () => {
  dir = await makeTemporaryDir("countersign-tls", 0o755);
  authority = makeAuthority(dir.path, "authority");
  stranger = makeAuthority(dir.path, "stranger");
  // For this name and the address of IPv6, but not for 127.0.0.1.
  const server = await makeCertificate(dir.path, "server", "DNS:localhost,IP:::1", authority);
  client = await makeCertificate(dir.path, "carl", "DNS:carl", authority);
  await giveToPostgres(server.key);
  cluster = await createTestCluster();
  const hba = [
    "local all all scram-sha-256",
    "hostssl all carl all cert",
    "hostnossl all secretive all reject",
    "host all all all scram-sha-256",
  ];
  await writeFile(path.join(cluster.dir, "pg_hba.conf"), `${hba.join("\n")}\n`);
  await cluster.start({
    listen_addresses: "127.0.0.1,::1",
    unix_socket_directories: cluster.dir,
    ssl: "on",
    ssl_cert_file: server.cert,
    ssl_key_file: server.key,
    ssl_ca_file: authority.cert,
  });
  const { username: user, password, port } = new URL(cluster.url);
  postgres = { user, password, port, socketDir: cluster.dir };
  for (const name of ['"b@t"', "secretive", "carl"]) {
    await run(`CREATE ROLE ${name} LOGIN PASSWORD '${PASSWORD.replace("'", "''")}'`);
  }
  await run(`CREATE DATABASE "a/b c" OWNER "b@t"`);
  await run('CREATE SCHEMA "odd""schema"');
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  await dir[Symbol.asyncDispose]();
});

/** Runs one statement as the superuser of a cluster. */
const run = (statement: string, { url } = cluster) => runOnServer(url, statement);

interface Session {
  readonly user: string;
  readonly database: string;
  /** `false` for clear text, `null` for a Unix-domain socket. */
  readonly ssl: boolean;
  readonly address: string | null;
  readonly application_name: string;
  readonly schema: string | null;
}

function login(): string {
  return `${postgres.user}:${postgres.password}`;
}

/** Logs in as the superuser at `localhost`. */
function localhost(query = ""): string {
  return `postgres://${login()}@localhost:${postgres.port}/postgres${query}`;
}

/** Connects, and looks at the session from the server's side. */
async function session(url: string): Promise<Session> {
  const database = openDatabase({ url, poolSize: 1, log: silentLog });
  try {
    return await ask(database);
  } finally {
    await database.close();
  }
}

async function ask(database: Database): Promise<Session> {
  const [row] = await database.query<Session>(
    TIMEOUT_MS,
    (sql) => sql`
      SELECT current_user::text AS user, current_database()::text AS database, ssl,
        host(inet_server_addr()) AS address, current_schema()::text AS schema,
        current_setting('application_name') AS application_name
      FROM pg_stat_ssl WHERE pid = pg_backend_pid()
    `,
  );
  if (row === undefined) throw new Error("no session");
  return row;
}

describe("it connects", () => {
  test.each<[form: string, url: () => string, expected: Partial<Session>]>([
    ["to a name, with TLS as it comes", () => localhost(), { ssl: true, address: "127.0.0.1" }],
    ["with sslmode=disable", () => localhost("?sslmode=disable"), { ssl: false }],
    ["with sslmode=prefer", () => localhost("?sslmode=prefer"), { ssl: true }],
    ["with sslmode=require", () => localhost("?sslmode=require"), { ssl: true }],
    ["with ssl=true", () => localhost("?ssl=true"), { ssl: true }],
    [
      "with sslmode=verify-ca, whatever the name",
      () =>
        `postgres://${login()}@127.0.0.1:${postgres.port}/postgres?sslmode=verify-ca&sslrootcert=${authority.cert}`,
      { ssl: true },
    ],
    [
      "with sslmode=verify-full",
      () => localhost(`?sslmode=verify-full&sslrootcert=${authority.cert}`),
      { ssl: true },
    ],
    [
      "with TLS 1.2",
      () => localhost("?sslmode=require&ssl_max_protocol_version=TLSv1.2"),
      { ssl: true },
    ],
    [
      "with a client certificate and no password",
      () =>
        `postgres://carl@localhost:${postgres.port}/postgres?sslmode=require&sslcert=${client.cert}&sslkey=${client.key}`,
      { user: "carl", ssl: true },
    ],
    [
      "to a socket as the host",
      () =>
        `postgres://${login()}@${encodeURIComponent(postgres.socketDir)}:${postgres.port}/postgres`,
      { ssl: false, address: null },
    ],
    [
      "to a socket as a parameter, which has no TLS whatever sslmode says",
      () =>
        `postgres://${login()}@/postgres?host=${postgres.socketDir}&port=${postgres.port}&sslmode=require`,
      { ssl: false, address: null },
    ],
    [
      "with what must be encoded",
      () => `postgres://b%40t:${encodeURIComponent(PASSWORD)}@localhost:${postgres.port}/a%2Fb%20c`,
      { user: "b@t", database: "a/b c" },
    ],
    [
      "with user, password and database as parameters",
      () =>
        `postgres://localhost:${postgres.port}?user=b%40t&password=${encodeURIComponent(PASSWORD)}&dbname=a%2Fb%20c`,
      { user: "b@t", database: "a/b c" },
    ],
    [
      "with a name to show",
      () => localhost("?application_name=desk%207&connect_timeout=5&keepalives_idle=30"),
      { application_name: "desk 7" },
    ],
    ["with a schema", () => localhost('?schema=odd"schema'), { schema: 'odd"schema' }],
    [
      "with options",
      () => localhost("?options=-c%20search_path%3Dpg_catalog%20-c%20work_mem%3D8MB"),
      { schema: "pg_catalog" },
    ],
    ["without prepared statements", () => localhost("?pgbouncer=true"), { ssl: true }],
    [
      "to the host of two that is there",
      () =>
        `postgres://${login()}@localhost:1,localhost:${postgres.port}/postgres?sslmode=verify-full&sslrootcert=${authority.cert}`,
      { ssl: true },
    ],
  ])("%s", async (_, url, expected) => {
    expect(await session(url())).toMatchObject(expected);
  });

  test.runIf(hasIPv6)("to an IPv6 address that the certificate names", async () => {
    const url = `postgres://${login()}@[::1]:${postgres.port}/postgres?sslmode=verify-full&sslrootcert=${authority.cert}`;
    expect(await session(url)).toMatchObject({ ssl: true, address: "::1" });
  });
});

describe("it does not connect, and says why without the password", () => {
  test.each<[why: string, url: () => string, message: RegExp]>([
    [
      "a certificate of another authority",
      () => localhost(`?sslmode=verify-full&sslrootcert=${stranger.cert}`),
      /localhost:\d+: .*(unable|self.signed)[^;]*: name its authority .*sslrootcert=/i,
    ],
    [
      "a certificate of another authority, with verify-ca",
      () => localhost(`?sslmode=verify-ca&sslrootcert=${stranger.cert}`),
      /localhost:\d+: .*(unable|self.signed)[^;]*: name its authority .*sslrootcert=/i,
    ],
    [
      "a certificate of another authority, with require and an authority",
      () => localhost(`?sslmode=require&sslrootcert=${stranger.cert}`),
      /localhost:\d+: .*(unable|self.signed)[^;]*: name its authority .*sslrootcert=/i,
    ],
    [
      "a certificate of no public authority",
      () => localhost("?sslmode=verify-full"),
      /localhost:\d+: .*(unable|self.signed)[^;]*: name its authority .*sslrootcert=/i,
    ],
    [
      "a certificate for another host",
      () =>
        `postgres://${login()}@127.0.0.1:${postgres.port}/postgres?sslmode=verify-full&sslrootcert=${authority.cert}`,
      /127\.0\.0\.1:\d+: .*does not match certificate's altnames/,
    ],
    [
      "clear text that the server refuses",
      () =>
        `postgres://secretive:${encodeURIComponent(PASSWORD)}@localhost:${postgres.port}/postgres?sslmode=disable`,
      /pg_hba\.conf rejects/,
    ],
    [
      "a client certificate that is missing",
      () => `postgres://carl@localhost:${postgres.port}/postgres?sslmode=require`,
      /certificate/,
    ],
    [
      "an authority's file that is missing",
      () => localhost("?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem"),
      /DATABASE_URL has sslrootcert \/nonexistent\/ca\.pem, which cannot be read \(ENOENT\)/,
    ],
    [
      "an authority's file that is none",
      () => localhost(`?sslmode=verify-full&sslrootcert=${authority.key}`),
      /DATABASE_URL has sslrootcert .*authority\.key, which is no certificate in PEM/,
    ],
    [
      "a key of another certificate",
      () => localhost(`?sslmode=require&sslcert=${client.cert}&sslkey=${authority.key}`),
      /DATABASE_URL has sslkey .*authority\.key, which is no unencrypted private key in PEM for/,
    ],
    [
      "a key that is none",
      () => localhost(`?sslmode=require&sslcert=${client.cert}&sslkey=${client.cert}`),
      /DATABASE_URL has sslkey .*carl\.crt, which is no unencrypted private key/,
    ],
    [
      "a socket that is not there",
      () => `postgres://${login()}@%2Fnonexistent/postgres`,
      /ENOENT \/nonexistent\/\.s\.PGSQL\.5432/,
    ],
    [
      "hosts that are all away",
      () => `postgres://${login()}@localhost:1,127.0.0.1:2/postgres`,
      /No host takes writes \(localhost:1: .*ECONNREFUSED.*; .*ECONNREFUSED 127\.0\.0\.1:2\)/,
    ],
  ])("%s", async (_, url, message) => {
    const error = await session(url()).catch((failure: unknown) => failure);
    expect(String(error)).toMatch(message);
    expect(String(error)).not.toContain(postgres.password);
    expect(String(error)).not.toContain("p@ss");
  });

  test("a server without TLS that must have it", async () => {
    const at = (query: string) => `${inject("postgresUrl")}${query}`;
    await expect(session(at("?sslmode=require"))).rejects.toThrow(
      /127\.0\.0\.1:\d+: it has no TLS, which sslmode in DATABASE_URL demands/,
    );
    expect(await session(at("?sslmode=prefer"))).toMatchObject({ ssl: false });
  });

  test.each([
    ["clear text behind its yes to TLS", "Sx", /does not answer as PostgreSQL does/],
    ["another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", /does not answer as PostgreSQL does/],
    ["nothing, and hangs up", "", /closed/],
  ])("a server that answers with %s", async (_, answer, message) => {
    await using server = await startFakeServer((socket) => socket.end(answer));
    await expect(session(`${server.url}?sslmode=require`)).rejects.toThrow(message);
  });

  test("a server that never answers, within connect_timeout", async () => {
    await using server = await startFakeServer(() => undefined);
    const attempt = session(`${server.url}?connect_timeout=1`);
    await expect(attempt).rejects.toThrow(/no connection within 1000 ms/);
  });
});

test("a server that says yes to TLS and then nothing, within connect_timeout", async () => {
  await using server = await startFakeServer((socket) => socket.write("S"));
  const url = `${server.url}?sslmode=require&connect_timeout=1`;
  const database = openDatabase({ url, poolSize: 1, log: silentLog });
  const error = await ask(database).catch((failure: unknown) => failure);
  // And not by the deadline of the statement, which is longer.
  expect(String(error)).toContain("no connection within 1000 ms");
  await database.close();
  expect(database.usage.connections).toBe(0);
});

test("the environment of libpq says nothing", async () => {
  const environment = { PGHOST: "nowhere", PGPASSWORD: "x", PGSSL: "require", PGDATABASE: "y" };
  const before = { ...process.env };
  Object.assign(process.env, environment);
  try {
    expect(await session(localhost("?sslmode=disable"))).toMatchObject({ ssl: false });
    const url = `postgres://${postgres.user}@localhost:${postgres.port}/postgres`;
    process.env.PGPASSWORD = postgres.password;
    await expect(session(url)).rejects.toThrow(/password/);
  } finally {
    for (const name of Object.keys(environment)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
});

test("dropped connections over TLS fail their statements at once", async () => {
  const database = openDatabase({
    url: localhost("?sslmode=require"),
    poolSize: 2,
    log: silentLog,
  });
  await ask(database);
  // Several, since it was a matter of chance that one ended the process.
  const sleeping = Promise.allSettled(
    Array.from({ length: 20 }, () => database.query(TIMEOUT_MS, (sql) => sql`SELECT pg_sleep(60)`)),
  );
  expect(database.usage.connections).toBeGreaterThan(0);
  await database.close(50);
  expect((await sleeping).map(({ status }) => status)).toEqual(Array(20).fill("rejected"));
  expect(database.usage.connections).toBe(0);
});

describe("of several hosts", () => {
  test("the one that takes writes is used, and another one when that changes", async () => {
    await using second = await createTestCluster();
    await second.start();
    for (const one of [cluster, second]) await run("CREATE ROLE bot LOGIN PASSWORD 'secret'", one);
    await setReadOnly("on");
    const [firstPort, secondPort] = [cluster, second].map(({ url }) => Number(new URL(url).port));
    const url = `postgres://bot:secret@127.0.0.1:${firstPort},127.0.0.1:${secondPort}/postgres`;
    const database = openDatabase({ url, poolSize: 3, log: silentLog });
    try {
      expect(await portOf(database)).toBe(secondPort);
      await setReadOnly("off");
      // It stays where it is while that is good.
      expect(await portOf(database)).toBe(secondPort);
      await second.kill();
      let port: number | undefined;
      for (let attempt = 0; attempt < 20 && port === undefined; attempt += 1) {
        port = await portOf(database).catch(() => undefined);
      }
      expect(port).toBe(firstPort);
    } finally {
      await database.close();
    }
  });

  async function setReadOnly(value: "on" | "off"): Promise<void> {
    await run(`ALTER ROLE bot SET default_transaction_read_only = ${value}`);
  }

  async function portOf(database: Database): Promise<number | undefined> {
    const [row] = await database.query<{ port: number }>(
      TIMEOUT_MS,
      (sql) => sql`SELECT inet_server_port() AS port`,
    );
    return row?.port;
  }
});

async function startFakeServer(onData: (socket: net.Socket) => void) {
  const server = await listen(
    net.createServer((socket) => {
      socket.on("error", () => undefined).once("data", () => onData(socket));
    }),
  );
  return { ...server, url: `postgres://u:p@127.0.0.1:${server.port}/x` };
}
