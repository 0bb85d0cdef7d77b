/**
 * Lets a server have many cases, and holds after each what it must hold: answers that are
 * well-formed and no fault of the server, rows only of what was signed and valid, a process that
 * lives and gives nothing away, and honest clients that are served.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { expectNoLeak } from "../server/support/secrecy.ts";
import { bodies, PROTOCOLS as HONEST_PROTOCOLS, send } from "../server/support/wire.ts";
import type { ServerProcess } from "../support/server.ts";
import { isBusy, judge } from "./answers/judge.ts";
import { type FuzzCase, makeCase } from "./case.ts";
import { exchange, isEndless } from "./exchange.ts";
import type { KnownTokens } from "./proof.ts";
import { Report } from "./report.ts";
import { type FuzzRequest, WITH_TOKEN } from "./request.ts";
import { type RowWatch, watchRows } from "./rows.ts";
import { findTargets, type Target } from "./targets.ts";

/** What is fuzzed, and with what. */
export interface FuzzOptions {
  readonly server: ServerProcess;
  readonly databaseUrl: string;
  readonly tokens: KnownTokens;
  readonly seed: number;
  /** The first case, and how many there are at most. */
  readonly from: number;
  readonly count: number;
  /** After so long, no more cases are begun. */
  readonly seconds: number;
  /** So many failures are enough. */
  readonly failuresMax: number;
  /** Told after each round. */
  readonly onRound: (casesDone: number, rows: number) => void;
}

/** What came of it. */
export interface FuzzResult {
  readonly cases: number;
  readonly rows: number;
  readonly report: Report;
  /** What did not hold, each with what is needed to see it again. None is as it should be. */
  readonly failures: readonly string[];
}

const ROUND_CASES = 200;
const CONCURRENCY = 16;
/** A server that is kept from its work has so many attempts, and time between them. */
const ATTEMPTS_MAX = 4;
const BUSY_PAUSE_MS = 3_000;
/** An honest client is served at once; a busy machine has this long, and a few attempts. */
const HONEST_TIMEOUT_MS = 30_000;
/** Where a module stands, which is nobody's business. */
const MODULE_PATH = /node_modules|\bsrc\/(?:server|store|ingest|signal)\b|\.[jt]s:\d+/;
const LEVEL_ERROR = 50;
/** A secret or a token, which is told once and logged never. */
const TOKEN = /cs_(?:tok|sec)_[0-9A-Za-z]+_[0-9A-Za-z]+/g;
/** Of the bytes of a case, so many are shown. */
const SHOWN_BYTES = 6_000;

/** Fuzzes until there are no more cases, the time is over, or something did not hold. */
export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const { server, databaseUrl, seed, from, count } = options;
  const targets = await findTargets();
  const report = new Report();
  const failures: string[] = [];
  const output = watchOutput(server, databaseUrl);
  const rows = await watchRows(databaseUrl, Object.values(options.tokens).map(tokenIdOf));
  const endMs = performance.now() + options.seconds * 1_000;
  let next = from;
  try {
    while (
      next < from + count &&
      performance.now() < endMs &&
      failures.length < options.failuresMax
    ) {
      const first = next;
      next = Math.min(from + count, next + ROUND_CASES);
      const queue = Array.from({ length: next - first }, (_, index) => first + index).values();
      const work = async () => {
        for (const number of queue)
          failures.push(...(await runCase(number, targets, options, report, rows)));
      };
      await Promise.all(Array.from({ length: CONCURRENCY }, work));
      const after = `after the cases ${first} to ${next - 1} of seed ${seed}`;
      const found = [...(await rows.faults()), ...output.faults(), ...aliveFaults(server)];
      found.push(...(await honestFaults(server, rows, `honest-${seed}-${first}`)));
      failures.push(...found.map((fault) => `${after}: ${fault}`));
      options.onRound(next - from, rows.count);
    }
    return { cases: next - from, rows: rows.count, report, failures };
  } finally {
    await rows.close();
  }
}

/** The public part of a token. */
function tokenIdOf(token: string): string {
  return token.split("_")[2] ?? "";
}

/**
 * Runs a case, and again if the server was kept from its work: a machine that is busy with other
 * things passes, bytes that keep the server from its work do not.
 */
async function runCase(...args: Parameters<typeof runOnce>): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const { faults, wasBusy } = await runOnce(...args);
    if (!wasBusy || faults.length > 0) return faults;
    if (attempt === ATTEMPTS_MAX) return [`case ${args[0]}: the server cannot do its work`];
    await sleep(BUSY_PAUSE_MS);
  }
}

async function runOnce(
  number: number,
  targets: readonly Target[],
  { server, databaseUrl, tokens, seed }: FuzzOptions,
  report: Report,
  rows: RowWatch,
): Promise<{ readonly faults: string[]; readonly wasBusy: boolean }> {
  let wasBusy = false;
  const one = makeCase(seed, number, { targets, tokens, nowMs: Date.now() });
  const signed = one.requests.flatMap(({ claim }) => claim ?? []);
  rows.allow(
    signed,
    one.requests.flatMap(({ signature }) => signature ?? []),
  );
  const faults: string[] = [];
  try {
    const port = one.port === "public" ? server.port : Number(new URL(server.opsUrl ?? "").port);
    const { answers, bytes, isClosed } = await exchange(one, port);
    if (!isClosed) faults.push("the connection was not closed in time");
    let isEnded = false;
    for (const [index, answer] of answers.entries()) {
      const request = one.isWhole ? one.requests[index] : undefined;
      if (answer === undefined) {
        if (!isEnded) faults.push(`request ${index} was not answered`);
        continue;
      }
      // Behind the last answer of a connection, or behind one without an end, there is none.
      isEnded ||= answer.headers.connection === "close";
      isEnded ||= one.version === "1.1" && request !== undefined && isEndless(request);
      const verdict = judge(answer, request);
      if (request?.isUnproven && verdict.stage === "served") faults.push("a stranger was served");
      wasBusy ||= isBusy(verdict.reason);
      report.count(kindOf(one, request), verdict.stage, verdict.reason);
      faults.push(...verdict.faults.map((fault) => `answer ${index}: ${fault}`));
      expectNoLeak(answer.body.toString("latin1") + JSON.stringify(answer), databaseUrl);
    }
    if (answers.length === 0) report.count(kindOf(one, undefined), "broken off", undefined);
    expectNoLeak(bytes.toString("latin1"), databaseUrl);
    if (MODULE_PATH.test(bytes.toString("latin1"))) faults.push("the answer names a module");
  } catch (error) {
    faults.push((error as Error).message);
  }
  return { faults: faults.map((fault) => `${fault}\n${describe(one, seed)}`), wasBusy };
}

function kindOf({ version }: FuzzCase, request: FuzzRequest | undefined): string {
  if (request === undefined) return `HTTP/${version} spoilt`;
  return request.protocol + (request.target.takesToken ? WITH_TOKEN : "");
}

/** What is needed to see a case again. The bytes hold signatures, but no secret and no token. */
function describe(one: FuzzCase, seed: number): string {
  const asked = one.requests.map(
    ({ protocol, method, path, oddities }) =>
      `${protocol} ${method} ${path} (${oddities.join("; ")})`,
  );
  const withoutTokens = one.bytes.toString("latin1", 0, SHOWN_BYTES).replace(TOKEN, "cs_tok_…");
  return [
    `  case ${one.number} of seed ${seed}, ${one.port} port, HTTP/${one.version}${one.isWhole ? "" : ", spoilt"}`,
    ...asked.map((text) => `  ${text}`),
    `  again: npm run fuzz -- --seed ${seed} --case ${one.number}`,
    `  base64: ${Buffer.from(withoutTokens, "latin1").toString("base64")}`,
  ].join("\n");
}

/** Reads what a server writes, line by line. */
function watchOutput(server: ServerProcess, databaseUrl: string): { faults(): string[] } {
  const faults: string[] = [];
  const check = (text: string) => {
    if (MODULE_PATH.test(text)) faults.push(`the log names a module: ${text}`);
    if (text.search(TOKEN) >= 0) faults.push(`the log tells a token: ${text}`);
    try {
      expectNoLeak(text, databaseUrl);
    } catch (error) {
      faults.push(`the log gives away: ${(error as Error).message}`);
    }
  };
  let rest = "";
  server.child.stdout?.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      check(line);
      try {
        const { level, err } = JSON.parse(line);
        // What a busy database does not do in time is told as an error, and tried again here.
        const isFault = level >= LEVEL_ERROR && err?.name !== "StoreUnavailableError";
        if (typeof level !== "number" || isFault) faults.push(`the log tells of a fault: ${line}`);
      } catch {
        faults.push(`no line of a log: ${line}`);
      }
    }
  });
  server.child.stderr?.on("data", (chunk: Buffer) => {
    const text = chunk.toString("utf8");
    check(text);
    faults.push(`on standard error: ${text}`);
  });
  return { faults: () => faults.splice(0) };
}

function aliveFaults({ child }: ServerProcess): string[] {
  const isAlive = child.exitCode === null && child.signalCode === null;
  return isAlive ? [] : [`the server has ended: ${child.exitCode ?? child.signalCode}`];
}

/** An honest client sends a signal over each protocol: it is stored, and acknowledged in time. */
async function honestFaults(
  { url }: ServerProcess,
  rows: RowWatch,
  name: string,
): Promise<string[]> {
  const faults = await Promise.all(
    HONEST_PROTOCOLS.map(async (protocol) => {
      const key = `${name}-${protocol.replaceAll(" ", "-")}`;
      const startMs = performance.now();
      const body = bodies({ idempotencyKey: key }, { idempotency_key: key });
      const producerId = "test-bot";
      rows.allow(
        [
          { kind: "protobuf", message: Buffer.from(body.binary), producerId },
          { kind: "rest", message: Buffer.from(body.rest), producerId },
        ],
        [],
      );
      let { error, httpStatus } = await send(url, protocol, body);
      for (let attempt = 1; isBusy(error?.reason) && attempt < ATTEMPTS_MAX; attempt++) {
        await sleep(BUSY_PAUSE_MS);
        ({ error, httpStatus } = await send(url, protocol, body));
      }
      const tookMs = performance.now() - startMs;
      if (error !== undefined)
        return [`an honest ${protocol} client got ${httpStatus} ${error.reason}`];
      return tookMs > HONEST_TIMEOUT_MS ? [`an honest ${protocol} client waited ${tookMs} ms`] : [];
    }),
  ).catch((error: unknown) => [[`an honest client was not served: ${error}`]]);
  faults.push(await rows.faults());
  for (const protocol of HONEST_PROTOCOLS) {
    const key = `${name}-${protocol.replaceAll(" ", "-")}`;
    if (!rows.hasKey(key)) faults.push([`what an honest ${protocol} client sent is not there`]);
  }
  return faults.flat();
}
