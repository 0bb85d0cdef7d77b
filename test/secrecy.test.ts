/**
 * Secrets of each kind are planted in each place that the tests watch, and must be found there:
 * otherwise that the run shows no secret would say nothing.
 */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import http2 from "node:http2";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { pino } from "pino";
import { afterEach, describe, expect, inject, it } from "vitest";
import { generateCredential } from "../src/signing/index.ts";
import { run } from "./cli/support/run.ts";
import { listen } from "./support/listen.ts";
import { silentLog } from "./support/postgres.ts";
import { recordLog } from "./support/recordLog.ts";
import {
  leaksIn,
  passwordOf,
  plantEnvironment,
  planted,
  searchParts,
} from "./support/secrecy/canaries.ts";
import { takeFindings } from "./support/secrecy/watch.ts";
import { TEST_MASTER_KEY, TEST_SECRET } from "./support/server.ts";
import { BOT_TOKEN } from "./support/telegram.ts";

const NEW_SECRET = generateCredential("sec").text;
const NEW_TOKEN = generateCredential("tok").text;
const ODD = planted("producer's secret", 'quoted "and" per cent % and /slash+plus');
const PASSWORD = passwordOf(inject("postgresUrl")) ?? "";

const KINDS = [
  ["producer's secret", TEST_SECRET],
  ["producer's secret", ODD],
  ["producer's secret", NEW_SECRET],
  ["token", NEW_TOKEN],
  ["master key", TEST_MASTER_KEY],
  ["database password", PASSWORD],
  ["Telegram token", BOT_TOKEN],
] as const;

const FORMS: Readonly<Record<string, (text: string) => string>> = {
  plain: (text) => text,
  JSON: JSON.stringify,
  "JSON in JSON": (text) => JSON.stringify({ text: JSON.stringify({ text }) }),
  "URL-encoded": encodeURIComponent,
  hexadecimal: (text) => Buffer.from(text).toString("hex"),
  HEXADECIMAL: (text) => Buffer.from(text).toString("hex").toUpperCase(),
  "inspected bytes": (text) => inspect(Buffer.from(text)),
  "an inspected array": (text) => inspect(new Uint8Array(Buffer.from(text))),
  "bytes in JSON": (text) => JSON.stringify(Buffer.from(text)),
  base64: (text) => Buffer.from(text).toString("base64"),
  base64url: (text) => Buffer.from(`?${text}`).toString("base64url"),
  "basic authentication": (text) => Buffer.from(`us:${text}`).toString("base64"),
  "cut into lines": (text) => text.replaceAll(/.{9}/g, "$&\n  "),
  "cut into lines, in JSON": (text) => JSON.stringify(text.replaceAll(/.{9}/g, "$&\r\n")),
};

describe.each(Object.entries(FORMS))("%s", (_form, write) => {
  it.each(KINDS)("shows a %s", (kind, text) => {
    expect(leaksIn(`before ${write(text)} after`)).toMatchObject([{ kind }]);
  });
});

it("finds the bytes of a master key, not only its text", () => {
  const key = Buffer.from(TEST_MASTER_KEY, "base64");
  for (const shown of [key.toString("hex"), inspect(key), JSON.stringify(key)]) {
    expect(leaksIn(shown)).toMatchObject([{ kind: "master key" }]);
  }
});

it("finds the beginning of what Countersign makes, but not its id", () => {
  expect(leaksIn(NEW_SECRET.slice(0, 30))).toMatchObject([{ kind: "producer's secret" }]);
  expect(leaksIn(NEW_TOKEN.slice(0, 20))).toEqual([]);
});

it("finds what comes in parts, once, however it is cut", () => {
  for (const { length } of [" ", "four", "a part of 24 characters."]) {
    const parts = searchParts();
    const text = `${"x".repeat(700)}${TEST_SECRET}${"x".repeat(700)}${NEW_TOKEN}`;
    const cut = text.match(new RegExp(`.{1,${length}}`, "g")) ?? [];
    expect(cut.flatMap((part) => parts.leaksIn(part))).toHaveLength(2);
  }
});

it("finds nothing where no secret is", () => {
  const hashed = createHash("sha256").update(TEST_SECRET).digest("hex");
  const text = `cs_sec_… cs_tok_abc ${hashed} ${randomBytes(1_000).toString("base64")}`;
  expect(leaksIn(text)).toEqual([]);
});

it("lets a new secret be told once, in a field of its own, and no other", () => {
  const told = new Set<string>();
  const answer = JSON.stringify({ secret: NEW_SECRET });
  expect(searchParts(told).leaksIn(answer)).toEqual([]);
  expect(searchParts(told).leaksIn(answer)).toHaveLength(1);
  expect(searchParts(told).leaksIn(JSON.stringify({ error: NEW_TOKEN }))).toHaveLength(1);
  expect(searchParts(told).leaksIn(JSON.stringify({ secret: TEST_SECRET }))).toHaveLength(1);
  expect(leaksIn(JSON.stringify({ token: NEW_TOKEN }))).toHaveLength(1);
});

/** What is planted in each place. */
const CANARY = planted("token", "planted-where-nobody-should-see-it");
const FINDING = "A token (plain) is in ";

/** Starts a program whose only secret is in its environment. */
async function runWithSecret(program: string, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, ["-e", program, ...args], { env: { CANARY } });
  await Promise.all([buffer(child.stdout), buffer(child.stderr), once(child, "close")]);
}

describe("a secret is found in", () => {
  afterEach(() => void takeFindings());

  it.each(["stdout", "stderr"])("the %s of a process", async (name) => {
    await runWithSecret(`process.${name}.write(process.env.CANARY)`);
    expect(takeFindings()).toEqual([expect.stringContaining(`${FINDING}the ${name} of `)]);
  });

  it("the command line of a process", async () => {
    await runWithSecret("", CANARY);
    expect(takeFindings()).toContainEqual(expect.stringContaining(`${FINDING}the command line`));
  });

  it("the title of a process that another started", async () => {
    const inner = "process.title = process.env.CANARY; setTimeout(() => {}, 3_000)";
    const outer = `require("child_process").execFileSync(process.execPath, ["-e", ${JSON.stringify(inner)}])`;
    await runWithSecret(outer);
    expect(takeFindings()).toEqual([`${FINDING}the command line or title of a process.`]);
  }, 20_000);

  it("the environment of a process, then in what it prints", async () => {
    const password = randomBytes(12).toString("hex");
    const env = { DATABASE_URL: `postgres://a:${password}@127.0.0.1/b` };
    const child = spawn(process.execPath, ["-e", "console.log(process.env.DATABASE_URL)"], { env });
    await Promise.all([buffer(child.stdout), once(child, "close")]);
    expect(takeFindings()).toEqual([expect.stringContaining("A database password (plain)")]);
  });

  it("the environment of a command in this process, then in what it prints", async () => {
    const secret = randomBytes(12).toString("hex");
    const { stderr } = await run([`--${secret}`], { env: { HMAC_PRODUCER_SECRET: secret } });
    expect(stderr).toContain(secret);
    expect(takeFindings()).toEqual([expect.stringContaining("A producer's secret (plain)")]);
  });

  it("an answer over HTTP/1.1, such as metrics", async () => {
    await using server = await listen(
      createServer((_, response) => void response.end(`requests_total{who="${CANARY}"} 1\n`)),
    );
    await (await fetch(server.url)).text();
    expect(takeFindings()).toEqual([`${FINDING}an answer over a connection.`]);
  });

  it.each(["body", "headers", "trailers"])("the %s of an answer over HTTP/2", async (place) => {
    const server = http2.createServer();
    server.on("stream", (stream) => {
      stream.respond(place === "headers" ? { why: CANARY } : {}, { waitForTrailers: true });
      stream.on("wantTrailers", () =>
        stream.sendTrailers(place === "trailers" ? { "grpc-message": CANARY } : {}),
      );
      stream.end(place === "body" ? CANARY : "");
    });
    await using listening = await listen(server);
    const session = http2.connect(listening.url);
    await once(session.request().resume(), "close");
    session.close();
    expect(takeFindings()).toEqual([`${FINDING}an answer over a connection.`]);
  });

  it.each([
    ["that a test reads", () => pino(recordLog().stream)],
    ["that nobody reads", () => silentLog],
  ])("a log %s", async (_name, open) => {
    open().debug({ who: CANARY }, "hello");
    open().info(new Error(CANARY), "hello");
    await sleep(1);
    expect(takeFindings()).toEqual([`${FINDING}a log.`]);
  });
});

it("looks for a bounded number of secrets that are made as the run goes on", () => {
  const secrets = Array.from({ length: 30 }, () => randomBytes(12).toString("hex"));
  for (const secret of secrets) plantEnvironment({ HMAC_PRODUCER_SECRET: secret });
  expect(leaksIn(secrets.join(" "))).toHaveLength(24);
});
