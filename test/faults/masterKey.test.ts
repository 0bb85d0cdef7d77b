/**
 * The master key is rotated as the operations page says, while servers run, signals come and
 * producers are added; and on the embedded database also with a kill at any step.
 */
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseEnv } from "node:util";
import postgres from "postgres";
import { describe, expect, onTestFinished, test } from "vitest";
import { createSecretBox, isSealedUnder, SecretText } from "../../src/server/auth/secretBox.ts";
import { generateCredential } from "../../src/signing/index.ts";
import {
  createAccessStore,
  type Database,
  openDatabase,
  startEmbeddedPostgres,
} from "../../src/store/index.ts";
import { jsonLines, run, start as startCommand } from "../cli/support/run.ts";
import { sealBefore } from "../server/support/sealed.ts";
import { eventually } from "../support/eventually.ts";
import { findFreePort } from "../support/freePort.ts";
import { createTestDatabase, silentLog } from "../support/postgres.ts";
import { type ServerProcess, spawnServer, testHeaders, testServerEnv } from "../support/server.ts";
import { validSignal } from "../support/signals.ts";
import { makeTestDataDir, removeTestDataDir } from "./support/embedded.ts";
import { postSigned, restJson } from "./support/senders.ts";

const OLD_KEY = Buffer.alloc(32, 0x3c);
const NEW_KEY = Buffer.alloc(32, 0xc3);
const REST_PATH = "/api/v1/signals";
const TIMEOUT_MS = 10_000;
const ROTATE = ["master-key", "rotate", "--yes", "--json"];
/** How late any process of a server may know of a new producer. */
const IN_FORCE_MS = 1_000;
/** Between two sends of a producer to a server. */
const PAUSE_MS = 15;
const KILL_WITHIN_MS = 3_000;
const RANDOM_KILLS = 5;
/** What only tells that something hangs. */
const PATIENCE_MS = 30_000;
const DRILL_TIMEOUT_MS = 240_000;
const ACTOR = { tokenId: undefined, name: "test" };

interface Credentials {
  readonly producerId: string;
  readonly secret: string;
}

const base64 = (key: Buffer) => key.toString("base64");
const keyIdOf = (key: Buffer) => createSecretBox([key]).keyIds[0] as Uint8Array;

let lastKey = 0;

/** Sends a signal. @returns `accepted`, `unanswered`, or the reason of the refusal. */
async function send(url: string, credentials: Credentials): Promise<string> {
  lastKey += 1;
  const body = Buffer.from(restJson(`key-${lastKey}`, validSignal()));
  const headers = testHeaders(REST_PATH, body, credentials);
  try {
    const { status, json } = await postSigned(url, REST_PATH, body, { headers });
    return status === 201 ? "accepted" : String(json.reason);
  } catch {
    return "unanswered";
  }
}

const laneOf = (url: string, { producerId }: Credentials) => `${producerId} ${url}`;

/** Producers that send to servers on and on. */
class Load {
  /** What was answered but an acceptance. */
  readonly refusals: string[] = [];
  readonly #urls: readonly string[];
  readonly #accepted = new Map<string, number>();
  readonly #senders: Promise<void>[] = [];
  #isOver = false;

  constructor(urls: readonly string[]) {
    this.#urls = urls;
  }

  /** Lets a producer send as soon as all servers must know it. */
  async add(credentials: Credentials): Promise<void> {
    await sleep(IN_FORCE_MS);
    for (const url of this.#urls) {
      this.#accepted.set(laneOf(url, credentials), 0);
      this.#senders.push(this.#sendOn(url, credentials));
    }
  }

  async #sendOn(url: string, credentials: Credentials): Promise<void> {
    const lane = laneOf(url, credentials);
    while (!this.#isOver) {
      const outcome = await send(url, credentials);
      if (outcome === "accepted") this.#accepted.set(lane, (this.#accepted.get(lane) ?? 0) + 1);
      // A server that is being restarted answers nothing, and the bot would try again.
      else if (outcome !== "unanswered") this.refusals.push(`${lane}: ${outcome}`);
      await sleep(PAUSE_MS);
    }
  }

  /** Resolves when each producer had so many more signals accepted by each server. */
  async goesOn(count = 3): Promise<void> {
    const before = new Map(this.#accepted);
    await eventually(
      "each producer is accepted by each server",
      () => [...this.#accepted].every(([lane, now]) => now >= (before.get(lane) ?? 0) + count),
      PATIENCE_MS,
    );
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#senders);
  }
}

/** What servers with these keys do when a producer is to be added. */
async function createProducer(
  database: Database,
  producerId: string,
  keys: readonly Buffer[],
): Promise<Credentials> {
  const store = createAccessStore(database);
  const { text } = generateCredential("sec");
  const { sealingKeyId } = await store.load(TIMEOUT_MS);
  const sealed = createSecretBox(keys).seal(new SecretText(text), producerId, sealingKeyId);
  if (sealed === undefined) throw new Error("The server lacks the key that is in force");
  const producer = {
    producerId,
    displayName: "",
    requireApproval: false,
    rateLimitPerSecond: undefined,
    allowedInstruments: undefined,
  };
  expect(await store.createProducer(producer, sealed, ACTOR, TIMEOUT_MS)).toBe("done");
  return { producerId, secret: text };
}

/** Gives a producer a new secret beside the one it has, as servers with these keys do. */
async function rotateSecret(
  database: Database,
  producerId: string,
  keys: readonly Buffer[],
): Promise<Credentials> {
  const store = createAccessStore(database);
  const { text } = generateCredential("sec");
  const { sealingKeyId } = await store.load(TIMEOUT_MS);
  const sealed = createSecretBox(keys).seal(new SecretText(text), producerId, sealingKeyId);
  if (sealed === undefined) throw new Error("The server lacks the key that is in force");
  const rule = { graceSeconds: 3_600, force: false };
  const outcome = await store.rotateProducerSecret(producerId, sealed, rule, ACTOR, TIMEOUT_MS);
  expect(outcome).toBe("done");
  return { producerId, secret: text };
}

test("two servers take every signal through the three steps, and producers are added in each", {
  timeout: DRILL_TIMEOUT_MS,
}, async () => {
  const own = await createTestDatabase();
  onTestFinished(() => own.drop());
  const database = openDatabase({ url: own.url, poolSize: 1, log: silentLog });
  onTestFinished(() => database.close());
  const sql = postgres(own.url, { max: 1 });
  onTestFinished(() => sql.end());
  const ports = [await findFreePort(), await findFreePort()];
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  const servers: ServerProcess[] = [];
  const ended: ServerProcess[] = [];
  onTestFinished(async () => {
    await Promise.all(servers.map((server) => server.stop("SIGKILL")));
  });
  const keysOf = ([key, previous]: readonly Buffer[]) => ({
    COUNTERSIGN_MASTER_KEY: key && base64(key),
    COUNTERSIGN_PREVIOUS_MASTER_KEY: previous && base64(previous),
  });
  async function restart(index: number, keys: readonly Buffer[]): Promise<void> {
    const before = servers[index];
    if (before !== undefined) {
      expect(await before.stop()).toBe(0);
      ended.push(before);
    }
    const given = { ...keysOf(keys), PORT: String(ports[index]), DATABASE_POOL_SIZE: "3" };
    servers[index] = await spawnServer(testServerEnv(own.url, given));
  }
  const load = new Load(urls);
  onTestFinished(() => load.end());

  // What an earlier version has left.
  const legacy = { producerId: "legacy-bot", secret: "a-secret-of-an-earlier-version" };
  await sql`INSERT INTO producers (producer_id) VALUES (${legacy.producerId})`;
  await sql`
    INSERT INTO producer_secrets (secret_id, producer_id, sealed)
    VALUES (gen_random_uuid(), ${legacy.producerId},
      ${sealBefore(OLD_KEY, legacy.producerId, legacy.secret)})
  `;
  await Promise.all([restart(0, [OLD_KEY]), restart(1, [OLD_KEY])]);
  await load.add(legacy);
  const first = await createProducer(database, "first-bot", [OLD_KEY]);
  await load.add(first);
  await load.goesOn();

  await restart(0, [NEW_KEY, OLD_KEY]);
  await load.add(await createProducer(database, "new-server-bot", [NEW_KEY, OLD_KEY]));
  await load.add(await createProducer(database, "old-server-bot", [OLD_KEY]));
  await restart(1, [NEW_KEY, OLD_KEY]);
  await load.add(await createProducer(database, "before-bot", [NEW_KEY, OLD_KEY]));
  await load.goesOn();

  const given = { DATABASE_URL: own.url, ...keysOf([NEW_KEY, OLD_KEY]) };
  const { stdout, stderr } = await run(ROTATE, { env: given });
  expect(stderr).toBe("");
  // With the producer that the configuration names.
  expect(jsonLines(stdout)).toMatchObject([{ resealed: 6, unopened: 0 }]);
  await load.goesOn();
  await load.add(await createProducer(database, "after-bot", [NEW_KEY, OLD_KEY]));
  await load.add(await rotateSecret(database, first.producerId, [NEW_KEY, OLD_KEY]));
  await expect(createProducer(database, "too-late-bot", [OLD_KEY])).rejects.toThrow(
    "lacks the key",
  );
  // A server that nobody gave the new key.
  const stale = spawnServer(testServerEnv(own.url, keysOf([OLD_KEY])));
  await expect(stale).rejects.toThrow("COUNTERSIGN_MASTER_KEY opens no secret of the producers");

  await restart(0, [NEW_KEY]);
  await load.add(await createProducer(database, "half-way-bot", [NEW_KEY]));
  await restart(1, [NEW_KEY]);
  await load.add(await createProducer(database, "last-bot", [NEW_KEY]));
  await load.goesOn();
  await load.end();
  expect(load.refusals).toEqual([]);

  const rows = await sql`SELECT sealed FROM producer_secrets`;
  expect(rows).toHaveLength(10);
  for (const { sealed } of rows) expect(isSealedUnder(sealed, keyIdOf(NEW_KEY))).toBe(true);
  const logs = JSON.stringify([...servers, ...ended].map((server) => server.logLines()));
  for (const canary of [base64(OLD_KEY), base64(NEW_KEY), legacy.secret, first.secret]) {
    expect(logs).not.toContain(canary);
  }
  expect(logs).not.toContain("does not open");
});

/** An embedded database with a key and a producer of its own, on which a server has been. */
async function makeEmbedded() {
  const dataDir = await makeTestDataDir();
  onTestFinished(() => removeTestDataDir(dataDir));
  const keyFile = join(dataDir, "master.key");
  const env = { DATA_DIR: dataDir, PORT: "0", OPS_PORT: "off" };
  const startServer = async (more: NodeJS.ProcessEnv = {}) => {
    const server = await spawnServer({ ...env, ...more });
    onTestFinished(async () => void (await server.stop("SIGKILL")));
    return server;
  };
  const credentials = async (): Promise<Credentials> => {
    const { PRODUCER_ID = "", HMAC_PRODUCER_SECRET = "" } = parseEnv(
      await readFile(join(dataDir, "producer.env"), "utf8"),
    );
    return { producerId: PRODUCER_ID, secret: HMAC_PRODUCER_SECRET };
  };
  /** Keeps the database up, and connects to it. */
  async function connect() {
    const embedded = await startEmbeddedPostgres({ dataDir, log: silentLog });
    const sql = postgres(embedded.url, { max: 4, onnotice: () => {} });
    const database = openDatabase({ url: embedded.url, poolSize: 2, log: silentLog });
    onTestFinished(async () => {
      await sql.end({ timeout: 1 });
      await database.close();
      await embedded.close();
    });
    return { sql, database };
  }
  return {
    env,
    keyFile,
    startServer,
    credentials,
    connect,
    /** The keys in the file, the current one first. */
    async keys() {
      const lines = (await readFile(keyFile, "utf8")).trimEnd().split("\n");
      return lines.map((line) => Buffer.from(line, "base64"));
    },
    /** Starts a server that takes a signal, and ends it. */
    async serves() {
      const server = await startServer();
      expect(await send(server.url, await credentials())).toBe("accepted");
      expect(await server.stop()).toBe(0);
    },
  };
}

describe("on the embedded database", { timeout: DRILL_TIMEOUT_MS }, () => {
  test("running servers and workers take up the new key, and lose no signal", async () => {
    const place = await makeEmbedded();
    const server = await place.startServer({ WORKERS: "2" });
    const [oldKey] = (await place.keys()) as [Buffer];
    const { database, sql } = await place.connect();
    const load = new Load([server.url]);
    onTestFinished(() => load.end());
    await load.add(await place.credentials());
    await load.add(await createProducer(database, "before-bot", [oldKey]));
    await load.goesOn(10);

    for (const round of [1, 2]) {
      const { code, stdout, stderr } = await run(ROTATE, { env: place.env });
      expect([code, stderr]).toEqual([0, ""]);
      const [key, ...more] = (await place.keys()) as [Buffer];
      expect(more).toEqual([]);
      expect(key).not.toEqual(oldKey);
      expect(jsonLines(stdout)).toMatchObject([
        { resealed: round + 1, key_id: Buffer.from(keyIdOf(key)).toString("hex") },
      ]);
      await load.add(await createProducer(database, `after-bot-${round}`, [key]));
      await load.goesOn(10);
      const rows = await sql`SELECT sealed FROM producer_secrets`;
      for (const { sealed } of rows) expect(isSealedUnder(sealed, keyIdOf(key))).toBe(true);
    }

    // A worker that comes later was told the first key only.
    const workerPids = () =>
      server
        .logLines()
        .filter(({ msg }) => msg === "worker is ready")
        .map(({ worker_pid: pid }) => Number(pid));
    const before = workerPids();
    for (const pid of before) process.kill(pid, "SIGKILL");
    await eventually("new workers", () => workerPids().length === 4, PATIENCE_MS);
    await load.goesOn(10);
    await load.end();
    expect(load.refusals).toEqual([]);
    expect(JSON.stringify(server.logLines())).not.toContain("does not open");
    expect(await server.stop()).toBe(0);
    await place.serves();
  });

  test("a kill at any step leaves a start that works, and the next command finishes it", async () => {
    const place = await makeEmbedded();
    await place.serves();
    const [oldKey] = (await place.keys()) as [Buffer];
    const { sql } = await place.connect();

    /** The command, held up by a lock where it is about to change the database. */
    async function startHeld() {
      const { promise: released, resolve: release } = Promise.withResolvers<void>();
      const holding = sql.begin(async (held) => {
        await held`SELECT FROM sealing_key FOR UPDATE`;
        await released;
      });
      const command = startCommand(ROTATE, { env: place.env });
      const exit = once(command, "exit");
      onTestFinished(() => void command.kill("SIGKILL"));
      await eventually(
        "it waits for the lock",
        async () => (await waiting()).length === 1,
        PATIENCE_MS,
      );
      return {
        command,
        exit,
        async release() {
          release();
          await holding;
        },
      };
    }
    const waiting = () => sql<{ pid: number }[]>`
      SELECT pid FROM pg_stat_activity
      WHERE application_name = 'countersign master-key' AND wait_event_type = 'Lock'
    `;
    const keyInForce = async () => (await sql`SELECT key_id FROM sealing_key`)[0]?.key_id;

    // Before the database is changed.
    const first = await startHeld();
    const [newKey, previous] = (await place.keys()) as [Buffer, Buffer];
    expect(previous).toEqual(oldKey);
    const second = await run(ROTATE, { env: place.env });
    expect(second).toMatchObject({ code: 1, stdout: "" });
    expect(second.stderr).toContain("Another rotation of this master key is under way.");
    first.command.kill("SIGKILL");
    await first.exit;
    for (const { pid } of await waiting()) await sql`SELECT pg_terminate_backend(${pid})`;
    await first.release();
    expect(await keyInForce()).toEqual(Buffer.from(keyIdOf(oldKey)));
    expect(await place.keys()).toEqual([newKey, oldKey]);
    await place.serves();

    // After the database was changed, and before the file says so.
    const third = await startHeld();
    third.command.kill("SIGSTOP");
    await third.release();
    await eventually("the new key is in force", async () =>
      Buffer.from(keyIdOf(newKey)).equals(await keyInForce()),
    );
    third.command.kill("SIGKILL");
    await third.exit;
    expect(await place.keys()).toEqual([newKey, oldKey]);
    await place.serves();

    const last = await run(ROTATE, { env: place.env });
    expect(last).toMatchObject({ code: 0, stderr: "" });
    expect(jsonLines(last.stdout)).toMatchObject([{ resealed: 0, previous_key_id: null }]);
    expect(await place.keys()).toEqual([newKey]);
    // What a kill between two steps of a change of the file leaves.
    await writeFile(`${place.keyFile}.0123456789abcdef`, `${base64(NEW_KEY)}\n`);
    await place.serves();
  });

  test("a kill at a random moment does, too", async () => {
    const place = await makeEmbedded();
    await place.serves();
    // So that the command need not start it, and is killed at its own work.
    await place.connect();
    for (let round = 0; round < RANDOM_KILLS; round++) {
      const command = startCommand(ROTATE, { env: place.env });
      const exit = once(command, "exit");
      await Promise.race([exit, sleep(200 + Math.random() * KILL_WITHIN_MS)]);
      command.kill("SIGKILL");
      await exit;
      await place.serves();
    }
    expect((await run(ROTATE, { env: place.env })).code).toBe(0);
    expect(await place.keys()).toHaveLength(1);
    await place.serves();
  });
});
