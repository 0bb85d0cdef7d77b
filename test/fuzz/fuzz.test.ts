/**
 * A fuzzer against the real server: `npm run fuzz` lets it run for longer, with any seed. What
 * runs among the other tests is always the same.
 */
import { expect, onTestFinished, test } from "vitest";
import { addProducers } from "../server/support/producers.ts";
import { scrape } from "../server/support/scrape.ts";
import { addTokens, aToken } from "../server/support/tokens.ts";
import { fileDatabase } from "../support/serveFile.ts";
import { spawnServer, testServerEnv } from "../support/server.ts";
import { fuzz } from "./fuzz.ts";
import { VICTIM } from "./messages.ts";
import { OTHER_PRODUCERS, PROTOCOLS, WITH_TOKEN } from "./request.ts";

const { FUZZ_SEED, FUZZ_SECONDS, FUZZ_CASE } = process.env;
const isShort = FUZZ_SECONDS === undefined;
const SHORT_CASES = 600;
const seed = Number(FUZZ_SEED ?? 1);
const seconds = Number(FUZZ_SECONDS ?? 120);
const shown = (text: string) => void (isShort || process.stderr.write(text));

const database = fileDatabase();

test(
  "whatever bytes come, only what is signed and valid is stored, and everybody is answered",
  async () => {
    await addProducers(database.url, [...OTHER_PRODUCERS, { producerId: VICTIM }]);
    const admin = aToken({ producerIds: [VICTIM] });
    const reader = aToken({ producerIds: [VICTIM], scopes: ["read"] });
    const expired = aToken({ producerIds: [VICTIM], expireTime: 1n });
    await addTokens(database.url, [admin, reader, expired]);
    const server = await spawnServer(testServerEnv(database.url, { OPS_PORT: "0" }));
    onTestFinished(async () => void (await server.stop("SIGKILL")));
    shown(`seed ${seed}\n`);
    const { cases, rows, report, failures } = await fuzz({
      server,
      databaseUrl: database.url,
      tokens: { admin: admin.text, reader: reader.text, expired: expired.text },
      seed,
      from: Number(FUZZ_CASE ?? 0),
      count: FUZZ_CASE !== undefined ? 1 : isShort ? SHORT_CASES : Number.POSITIVE_INFINITY,
      seconds,
      failuresMax: 1,
      onRound: (done, stored) => shown(`${done} cases, ${stored} rows\r`),
    });
    shown(`\n${report.text()}\nseed ${seed}: ${cases} cases, ${rows} rows\n`);
    expect(failures.slice(0, 5).join("\n\n")).toBe("");
    const metrics = await scrape(server.opsUrl);
    expect(metrics.sum("countersign_requests_total", { outcome: "INTERNAL" })).toBe(0);
    expect(metrics.sum("countersign_store_failures_total", { reason: "fault" })).toBe(0);
    expect(await server.stop()).toBe(0);
    if (FUZZ_CASE !== undefined) return;
    // A fuzzer that gets no further than the door finds nothing.
    expect(rows / cases).toBeGreaterThan(0.1);
    const withToken = ["gRPC", "gRPC-Web", "Connect"].map((protocol) => protocol + WITH_TOKEN);
    for (const kinds of [...PROTOCOLS.map((protocol) => [protocol]), withToken]) {
      expect(report.share(kinds, ["malformed", "refused", "served"])).toBeGreaterThan(0.5);
      expect(report.share(kinds, ["refused", "served"])).toBeGreaterThan(0.2);
    }
  },
  (seconds + 120) * 1_000,
);
