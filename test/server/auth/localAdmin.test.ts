/** The first token of a server on its embedded database. */
import { appendFile, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { parseEnv } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { TokenService } from "../../../gen/signals/v1/token_service_pb.ts";
import type { AccessStore } from "../../../src/access/index.ts";
import { HiddenText } from "../../../src/alerts/index.ts";
import {
  ensureLocalAdmin,
  localAdminFile,
  writeLocalAdmin,
} from "../../../src/server/auth/localAdmin.ts";
import { generateCredential } from "../../../src/signing/index.ts";
import { createAccessStore, type Database, openDatabase } from "../../../src/store/index.ts";
import { makeTemporaryDir } from "../../store/temporaryDir.ts";
import { silentLog } from "../../support/postgres.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import { spawnServer } from "../../support/server.ts";
import { temporaryDirectory } from "../../support/temporaryDirectory.ts";
import { clientOf, refusalOf } from "../support/tokens.ts";

const testDatabase = fileDatabase();
let database: Database;
let store: AccessStore;
beforeAll(() => {
  database = openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog });
  store = createAccessStore(database);
});
afterAll(() => database.close());

const TIMEOUT_MS = 10_000;
const ACTOR = { tokenId: undefined, name: "a test" };
const URLS = { url: "http://127.0.0.1:1", opsUrl: "http://127.0.0.1:2" };

const warnings: [facts: unknown, message: string][] = [];
const log = { warn: ((...args: [unknown, string]) => warnings.push(args)) as never };

const ensure = (directory: string) => ensureLocalAdmin(directory, store, log);

/** As at a start. @returns the token of the file. */
async function start(directory: string): Promise<string> {
  const token = await ensure(directory);
  if (token === undefined) throw new Error("There is no token.");
  await writeLocalAdmin(directory, token, URLS, false);
  return token.reveal();
}

/** Whether the token counts. */
async function isLive(text: string): Promise<boolean> {
  const info = await store.getToken(String(text.split("_")[2]), TIMEOUT_MS);
  return info !== undefined && info.revokeTime === undefined;
}

describe("the token", () => {
  test("is new where there is none, may do everything, and is the same from then on", async () => {
    const directory = await temporaryDirectory();
    const text = await start(directory);
    expect(await store.getToken(String(text.split("_")[2]), TIMEOUT_MS)).toMatchObject({
      name: "local-admin",
      scopes: ["read", "review", "admin"],
      producerIds: undefined,
      expireTime: undefined,
    });
    expect(await start(directory)).toBe(text);
    const { items } = await store.listAuditEntries(
      { within: undefined, producerId: undefined, tokenId: text.split("_")[2], action: undefined },
      { size: 10, after: undefined },
      TIMEOUT_MS,
    );
    expect(items).toMatchObject([
      { action: "token.bootstrap", actor: { tokenId: undefined, name: "countersign serve" } },
    ]);
  });

  test("is another one if its file was deleted, and the earlier one is revoked", async () => {
    const directory = await temporaryDirectory();
    const first = await start(directory);
    await rm(localAdminFile(directory));
    const second = await start(directory);
    expect(second).not.toBe(first);
    expect([await isLive(first), await isLive(second)]).toEqual([false, true]);
  });

  test("of an operator is left alone by that, whatever its name is", async () => {
    const directory = await temporaryDirectory();
    const { id: tokenId, text } = generateCredential("tok");
    const token = { tokenId, tokenSha256: new Uint8Array(32), name: "local-admin" };
    await store.bootstrapToken(token, true, "countersign tokens bootstrap", TIMEOUT_MS);
    await start(directory);
    expect(await isLive(text)).toBe(true);
  });

  test("of the file is made known to a database that does not know it", async () => {
    const directory = await temporaryDirectory();
    const { text } = generateCredential("tok");
    await writeFile(localAdminFile(directory), `COUNTERSIGN_TOKEN=${text}\n`);
    expect(await start(directory)).toBe(text);
    expect(await isLive(text)).toBe(true);
  });

  test("that was revoked stays so, and the log says what to do", async () => {
    const directory = await temporaryDirectory();
    const text = await start(directory);
    const tokenId = String(text.split("_")[2]);
    await store.revokeToken(tokenId, ACTOR, TIMEOUT_MS);
    warnings.length = 0;
    expect(await start(directory)).toBe(text);
    expect(await isLive(text)).toBe(false);
    expect(warnings).toEqual([
      [
        { file: localAdminFile(directory), token_id: tokenId },
        expect.stringContaining("was revoked: delete the file"),
      ],
    ]);
  });

  test.each(["cs_tok_0001", generateCredential("sec").text, "secret"])(
    "that is none leaves the file as it is: %s",
    async (text) => {
      const directory = await temporaryDirectory();
      await writeFile(localAdminFile(directory), `COUNTERSIGN_TOKEN=${text}\n`);
      warnings.length = 0;
      expect(await ensure(directory)).toBeUndefined();
      expect(warnings).toHaveLength(1);
      expect(JSON.stringify(warnings)).not.toContain(text);
    },
  );

  test("is not made over a file that cannot be read", async () => {
    const directory = await temporaryDirectory();
    await mkdir(localAdminFile(directory));
    await expect(ensure(directory)).rejects.toThrow("EISDIR");
  });
});

describe("its file", () => {
  const token = new HiddenText(generateCredential("tok").text);
  const linesOf = async (directory: string) =>
    (await readFile(localAdminFile(directory), "utf8")).split("\n").slice(1);

  test("is for its owner only, and replaced whole", async () => {
    const directory = await temporaryDirectory();
    const path = localAdminFile(directory);
    await writeFile(path, "OLD", { mode: 0o644 });
    await writeLocalAdmin(directory, token, URLS, false);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await linesOf(directory)).toEqual([
      `COUNTERSIGN_TOKEN=${token.reveal()}`,
      "COUNTERSIGN_URL=http://127.0.0.1:1",
      "COUNTERSIGN_OPS_URL=http://127.0.0.1:2",
      "",
    ]);
  });

  test("has the URLs of now, or says what to put there, and keeps what a person added", async () => {
    const directory = await temporaryDirectory();
    await writeLocalAdmin(directory, token, URLS, false);
    await appendFile(localAdminFile(directory), "MORE=1\n");
    await writeLocalAdmin(directory, token, { url: undefined, opsUrl: undefined }, false);
    const [, url, opsUrl, more] = await linesOf(directory);
    expect(url).toMatch(/^# COUNTERSIGN_URL= the https URL/);
    expect(opsUrl).toMatch(/^# COUNTERSIGN_OPS_URL= .*OPS_PORT/);
    expect(more).toBe("MORE=1");
    await writeLocalAdmin(directory, token, URLS, false);
    expect((await linesOf(directory)).slice(1)).toEqual([
      "COUNTERSIGN_URL=http://127.0.0.1:1",
      "COUNTERSIGN_OPS_URL=http://127.0.0.1:2",
      "MORE=1",
      "",
    ]);
  });

  test("keeps the URLs of another server that lives, unless the token is new", async () => {
    const directory = await temporaryDirectory();
    const other = { url: "http://127.0.0.1:3", opsUrl: undefined };
    await writeLocalAdmin(directory, token, URLS, false);
    await writeLocalAdmin(directory, token, other, true);
    expect((await linesOf(directory))[1]).toBe("COUNTERSIGN_URL=http://127.0.0.1:1");
    await writeLocalAdmin(directory, new HiddenText(generateCredential("tok").text), other, true);
    expect((await linesOf(directory))[1]).toBe("COUNTERSIGN_URL=http://127.0.0.1:3");
  });
});

test("administers from the first start, with workers too, and over restarts", async () => {
  await using folder = await makeTemporaryDir("countersign-admin");
  const file = localAdminFile(folder.path);
  const env = { DATA_DIR: folder.path, PORT: "0", OPS_PORT: "0" };
  const read = async () => parseEnv(await readFile(file, "utf8"));

  const first = await spawnServer({ ...env, WORKERS: "2" });
  const admin = await read();
  expect(admin).toEqual({
    COUNTERSIGN_TOKEN: expect.stringMatching(/^cs_tok_/),
    COUNTERSIGN_URL: first.url,
    COUNTERSIGN_OPS_URL: first.opsUrl,
  });
  const text = String(admin.COUNTERSIGN_TOKEN);
  const made = clientOf(ProducerService, first.opsUrl, { text });
  await made.createProducer({ producerId: "bot" });
  expect(JSON.stringify(first.logLines())).not.toContain(text);
  expect(await first.stop()).toBe(0);

  const second = await spawnServer(env);
  expect(await read()).toEqual({
    COUNTERSIGN_TOKEN: text,
    COUNTERSIGN_URL: second.url,
    COUNTERSIGN_OPS_URL: second.opsUrl,
  });
  const { producers } = await clientOf(ProducerService, second.opsUrl, { text }).listProducers({});
  expect(producers.map(({ producerId }) => producerId)).toEqual(["bot", "local-bot"]);
  const tokens = clientOf(TokenService, second.opsUrl, { text });
  await tokens.revokeToken({ tokenId: String(text.split("_")[2]) });
  expect((await refusalOf(tokens.listTokens({}))).reason).toBe("UNAUTHENTICATED");
  expect(await second.stop()).toBe(0);

  const third = await spawnServer({ ...env, OPS_PORT: "off" });
  expect((await read()).COUNTERSIGN_OPS_URL).toBeUndefined();
  expect((await read()).COUNTERSIGN_TOKEN).toBe(text);
  expect(third.logLines().map(({ msg }) => msg)).toContainEqual(
    expect.stringContaining("the token in this file was revoked"),
  );
  expect(await third.stop()).toBe(0);
});
