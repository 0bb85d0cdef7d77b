/**
 * Producers that a server makes sure of at its start, and the first one of a data directory.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { appendFile, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { AccessStore } from "../../../src/access/index.ts";
import { ensureProducer } from "../../../src/server/auth/ensureProducer.ts";
import {
  localProducer,
  localProducerFile,
  writeLocalProducer,
} from "../../../src/server/auth/localProducer.ts";
import { createSecretBox, SecretText } from "../../../src/server/auth/secretBox.ts";
import { systemClock } from "../../../src/server/clock.ts";
import { generateCredential } from "../../../src/signing/index.ts";
import { createAccessStore, type Database, openDatabase } from "../../../src/store/index.ts";
import { createTestDatabase, silentLog } from "../../support/postgres.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import {
  startTestServer,
  TEST_MASTER_KEY,
  TEST_PRODUCER_ID,
  TEST_SECRET,
} from "../../support/server.ts";
import { temporaryDirectory } from "../../support/temporaryDirectory.ts";
import { sealBefore, sealNow } from "../support/sealed.ts";

const ANOTHER_MASTER_KEY = Buffer.alloc(32, 9).toString("base64");

const testDatabase = fileDatabase();
let database: Database;
let store: AccessStore;
let sql: postgres.Sql;
const box = createSecretBox([Buffer.from(TEST_MASTER_KEY, "base64")]);

beforeAll(async () => {
  database = openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog });
  store = createAccessStore(database);
  sql = postgres(testDatabase.url, { max: 1 });
});

afterAll(async () => {
  await sql.end();
  await database.close();
});

describe("a producer that a server makes sure of", () => {
  const secret = (number: number) => new SecretText(`configured-secret-number-${number}`);
  const secretsOf = (producerId: string) => sql`
    SELECT secret_id, sealed, expires_at <= now() AS is_ended FROM producer_secrets
    WHERE producer_id = ${producerId} ORDER BY created_at
  `;

  test("is made with its secret, once, and the audit says by whom", async () => {
    const credentials = { producerId: "sure-bot", secret: secret(1) };
    expect(await ensureProducer(credentials, store, box)).toBe("live");
    expect(await ensureProducer(credentials, store, box)).toBe("live");
    expect(await secretsOf("sure-bot")).toHaveLength(1);
    const entries = await sql`
      SELECT actor_name, action FROM audit_log WHERE producer_id = 'sure-bot'
    `;
    expect([...entries]).toEqual([{ actor_name: "countersign serve", action: "producer.create" }]);
  });

  test("is made with its secret once by servers that start at once", async () => {
    const wide = openDatabase({ url: testDatabase.url, poolSize: 8, log: silentLog });
    onTestFinished(() => wide.close());
    const credentials = { producerId: "crowd-bot", secret: secret(1) };
    const states = await Promise.all(
      Array.from({ length: 8 }, () => ensureProducer(credentials, createAccessStore(wide), box)),
    );
    expect(states).toEqual(Array.from({ length: 8 }, () => "live"));
    expect(await secretsOf("crowd-bot")).toHaveLength(1);
  });

  test("stays disabled if a person disabled it", async () => {
    const credentials = { producerId: "stopped-bot", secret: secret(1) };
    await ensureProducer(credentials, store, box);
    await sql`UPDATE producers SET enabled = false WHERE producer_id = 'stopped-bot'`;
    await ensureProducer(credentials, store, box);
    const [row] = await sql`SELECT enabled FROM producers WHERE producer_id = 'stopped-bot'`;
    expect(row?.enabled).toBe(false);
  });

  test("is not live with a secret that has ended, or that two newer ones replaced", async () => {
    const old = { producerId: "old-bot", secret: secret(1) };
    expect(await ensureProducer(old, store, box)).toBe("live");
    expect(await ensureProducer({ ...old, secret: secret(2) }, store, box)).toBe("live");
    expect(await ensureProducer(old, store, box)).toBe("live");
    expect(await ensureProducer({ ...old, secret: secret(3) }, store, box)).toBe("live");
    expect(await ensureProducer(old, store, box)).toBe("ended");
    await sql`UPDATE producer_secrets SET expires_at = now() WHERE producer_id = 'old-bot'`;
    expect(await ensureProducer({ ...old, secret: secret(3) }, store, box)).toBe("ended");
    expect(await secretsOf("old-bot")).toHaveLength(3);
  });

  describe("is recognised by its secret", () => {
    const KEY = Buffer.from(TEST_MASTER_KEY, "base64");
    const PREVIOUS_KEY = Buffer.alloc(32, 8);
    const text = "configured-by-an-earlier-start-1";

    const sealedBefore = (key: Buffer, producerId: string) => ({
      secret_id: randomUUID(),
      sealed: sealBefore(key, producerId, text),
    });
    const sealedNow = (key: Buffer, producerId: string) => {
      const { secretId, sealed } = sealNow(key, producerId, text);
      return { secret_id: secretId, sealed };
    };

    test.each([
      ["in the form of an earlier version", "form-bot", sealedBefore, KEY],
      ["in that form under the key before", "before-bot", sealedBefore, PREVIOUS_KEY],
      ["under the key before", "previous-bot", sealedNow, PREVIOUS_KEY],
      ["under the key of now", "now-bot", sealedNow, KEY],
    ] as const)(
      "that is sealed %s, also when it was given up",
      async (_, producerId, seal, key) => {
        const row = { ...seal(key, producerId), producer_id: producerId };
        await sql`INSERT INTO producers ${sql({ producer_id: producerId })}`;
        await sql`INSERT INTO producer_secrets ${sql(row)}`;
        const both = createSecretBox([KEY, PREVIOUS_KEY]);
        const credentials = { producerId, secret: new SecretText(text) };
        expect(await ensureProducer(credentials, store, both)).toBe("live");
        await sql`UPDATE producer_secrets SET expires_at = now() WHERE producer_id = ${producerId}`;
        expect(await ensureProducer(credentials, store, both)).toBe("ended");
        expect(await secretsOf(producerId)).toEqual([
          { secret_id: row.secret_id, sealed: Buffer.from(row.sealed), is_ended: true },
        ]);
        // What is not the same secret is added.
        const another = { producerId, secret: new SecretText(`${text}x`) };
        expect(await ensureProducer(another, store, both)).toBe("live");
      },
    );
  });

  test("keeps the id of a generated secret, unless another producer's has it", async () => {
    const { id, text } = generateCredential("sec");
    const credentials = { producerId: "generated-bot", secret: new SecretText(text) };
    expect(await ensureProducer(credentials, store, box)).toBe("live");
    expect(await secretsOf("generated-bot")).toMatchObject([{ secret_id: id }]);
    const copied = { ...credentials, producerId: "copied-bot" };
    expect(await ensureProducer(copied, store, box)).toBe("taken");
    expect(await secretsOf("copied-bot")).toEqual([]);
  });

  test("is refused while the key in force is not to be had", async () => {
    const foreign = createSecretBox([Buffer.alloc(32, 9)]);
    await ensureProducer({ producerId: "first-bot", secret: secret(1) }, store, box);
    const credentials = { producerId: "keyless-bot", secret: secret(1) };
    await expect(ensureProducer(credentials, store, foreign)).rejects.toThrow("was rotated");
    expect(await sql`SELECT 1 FROM producers WHERE producer_id = 'keyless-bot'`).toEqual([]);
  });

  test("whose secret is not live is warned of, and the server starts", async () => {
    await ensureProducer({ producerId: "warned-bot", secret: secret(1) }, store, box);
    await sql`UPDATE producer_secrets SET expires_at = now() WHERE producer_id = 'warned-bot'`;
    const server = await startTestServer(testDatabase.url, {
      PRODUCER_ID: "warned-bot",
      HMAC_PRODUCER_SECRET: secret(1).reveal(),
    });
    onTestFinished(() => server.close());
    const warning = server.logLines.find(({ producer_id }) => producer_id === "warned-bot");
    expect(warning).toMatchObject({ level: 40 });
    expect(warning?.msg).toContain("has expired; it does not sign");
    expect(JSON.stringify(server.logLines)).not.toContain(secret(1).reveal());
  });
});

test("a start with a master key that opens no secret of a producer fails, and changes nothing", async () => {
  const own = await createTestDatabase();
  onTestFinished(() => own.drop());
  await (await startTestServer(own.url)).close();
  const reader = postgres(own.url, { max: 1 });
  onTestFinished(() => reader.end());
  const content = async () => [
    ...(await reader`SELECT * FROM producers`),
    ...(await reader`SELECT * FROM producer_secrets`),
  ];
  const before = await content();

  const start = startTestServer(own.url, { COUNTERSIGN_MASTER_KEY: ANOTHER_MASTER_KEY });
  await expect(start).rejects.toThrow(
    `COUNTERSIGN_MASTER_KEY opens no secret of the producer ${TEST_PRODUCER_ID}`,
  );
  expect(await content()).toEqual(before);
  await (await startTestServer(own.url)).close();
});

describe("the first producer of a data directory", () => {
  test("is new where there is none, and the same from then on", async () => {
    const directory = await temporaryDirectory();
    const first = await localProducer(directory);
    expect(first.producerId).toBe("local-bot");
    await writeLocalProducer(directory, first, "http://127.0.0.1:1", systemClock);
    const again = await localProducer(directory);
    expect(again.producerId).toBe(first.producerId);
    expect(again.secret.reveal()).toBe(first.secret.reveal());
  });

  test("has its credentials in a file for its owner only, which is replaced whole", async () => {
    const directory = await temporaryDirectory();
    const path = localProducerFile(directory);
    await writeFile(path, "OLD", { mode: 0o644 });
    const credentials = { producerId: "bot", secret: new SecretText(TEST_SECRET) };
    await writeLocalProducer(directory, credentials, "http://127.0.0.1:1", systemClock);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const lines = (await readFile(path, "utf8")).split("\n").slice(1);
    expect(lines).toEqual([
      "PRODUCER_ID=bot",
      `HMAC_PRODUCER_SECRET=${TEST_SECRET}`,
      "OUTBOUND_SERVER_URL=http://127.0.0.1:1",
      "",
    ]);
  });

  test("has a URL that clients take, or a line that says what to put there", async () => {
    const directory = await temporaryDirectory();
    const first = await localProducer(directory);
    const urlLine = async () =>
      (await readFile(localProducerFile(directory), "utf8")).split("\n")[3];
    await writeLocalProducer(directory, first, undefined, systemClock);
    expect(await urlLine()).toMatch(/^# OUTBOUND_SERVER_URL= the https URL under which/);
    await writeLocalProducer(directory, first, "http://127.0.0.1:2", systemClock);
    expect(await urlLine()).toBe("OUTBOUND_SERVER_URL=http://127.0.0.1:2");
  });

  test("keeps what a person added to its file", async () => {
    const directory = await temporaryDirectory();
    const first = await localProducer(directory);
    await writeLocalProducer(directory, first, "http://127.0.0.1:1", systemClock);
    await appendFile(localProducerFile(directory), "OUTBOUND_TIMEOUT_SECONDS=7\n");
    await writeLocalProducer(directory, first, "http://127.0.0.1:2", systemClock);
    const lines = (await readFile(localProducerFile(directory), "utf8")).split("\n");
    expect(lines.slice(3)).toEqual([
      "OUTBOUND_SERVER_URL=http://127.0.0.1:2",
      "OUTBOUND_TIMEOUT_SECONDS=7",
      "",
    ]);
  });

  test("keeps the URL of another server that knows it while that one runs", async () => {
    const directory = await temporaryDirectory();
    const first = { producerId: TEST_PRODUCER_ID, secret: new SecretText(TEST_SECRET) };
    const other = await startTestServer(testDatabase.url);
    onTestFinished(() => other.close());
    await writeLocalProducer(directory, first, other.url, systemClock);
    expect(await writeLocalProducer(directory, first, "http://127.0.0.1:2", systemClock)).toBe(
      other.url,
    );
    expect(await readFile(localProducerFile(directory), "utf8")).toContain(other.url);
  });

  test("gives up the URL of a server that is gone, or of whoever has its port now", async () => {
    const directory = await temporaryDirectory();
    const first = await localProducer(directory);
    const stranger = createServer((_, response) => response.end('{"name":"somebody"}'));
    stranger.listen(0, "127.0.0.1");
    await once(stranger, "listening");
    onTestFinished(() => void stranger.close());
    const { port } = stranger.address() as AddressInfo;
    const ofAnother = await startTestServer(testDatabase.url);
    onTestFinished(() => ofAnother.close());
    for (const gone of [
      ofAnother.url,
      `http://127.0.0.1:${port}`,
      "http://127.0.0.1:1",
      "no URL",
    ]) {
      await writeLocalProducer(directory, first, gone, systemClock);
      expect(
        await writeLocalProducer(directory, first, "http://127.0.0.1:2", systemClock),
      ).toBeUndefined();
      expect(await readFile(localProducerFile(directory), "utf8")).toContain("127.0.0.1:2");
    }
  });

  test("is refused by the name of its file if its secret is none", async () => {
    const directory = await temporaryDirectory();
    const path = localProducerFile(directory);
    await writeFile(path, "PRODUCER_ID=bot\nHMAC_PRODUCER_SECRET=abc\n");
    await expect(localProducer(directory)).rejects.toThrow(`HMAC_PRODUCER_SECRET in ${path}`);
  });

  test("is not made anew over a file that cannot be read", async () => {
    const directory = await temporaryDirectory();
    await mkdir(localProducerFile(directory));
    await expect(localProducer(directory)).rejects.toThrow("EISDIR");
  });
});
