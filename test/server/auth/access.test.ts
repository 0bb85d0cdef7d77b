/**
 * What a running server makes of who may do what: it follows changes, notes uses, and takes no
 * proof for longer than it holds. How late changes may be seen is in test/faults.
 */
import { Agent, request } from "node:http";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { fileDatabase } from "../../support/serveFile.ts";
import {
  startTestServer,
  TEST_PRODUCER_ID,
  TEST_SECRET,
  testHeaders,
} from "../../support/server.ts";
import { restBody } from "../../support/signals.ts";
import { addProducers } from "../support/producers.ts";
import { expectNoLeak } from "../support/secrecy.ts";
import { bodies, REST_PATH, send } from "../support/wire.ts";

const ANOTHER_MASTER_KEY = Buffer.alloc(32, 9).toString("base64");

const testDatabase = fileDatabase();
let sql: postgres.Sql;

beforeAll(() => {
  sql = postgres(testDatabase.url, { max: 1 });
});

afterAll(() => sql.end());

/** Asks over a connection of the agent, which is not opened again. */
function isAnswered(
  url: string,
  agent: Agent,
  {
    headers = {},
    body = Buffer.alloc(0),
  }: { headers?: Record<string, string>; body?: Buffer } = {},
): Promise<boolean> {
  return new Promise((resolve) => {
    const method = body.length === 0 ? "GET" : "POST";
    const fields = { "content-type": "application/json", ...headers };
    const asked = request(url, { agent, method, headers: fields }, (response) => {
      response
        .resume()
        .on("end", () => resolve(response.statusCode === 200 || response.statusCode === 201));
    });
    asked.on("error", () => resolve(false));
    asked.end(body);
  });
}

describe("a running server", () => {
  test("sees within seconds that a producer was disabled, limited or restricted, and set free", async () => {
    const changes = {
      "off-bot": { change: { enabled: false }, seen: "PRODUCER_DISABLED" },
      "silver-bot": { change: { allowed_instruments: ["SILVER"] }, seen: "INSTRUMENT_NOT_ALLOWED" },
      "slow-bot": { change: { rate_limit_per_second: 1 }, seen: "RATE_LIMITED" },
      "asking-bot": { change: { require_approval: true }, seen: "pending_approval" },
    };
    const ids = Object.keys(changes);
    await addProducers(
      testDatabase.url,
      ids.map((producerId) => ({ producerId })),
    );
    const server = await startTestServer(testDatabase.url);
    onTestFinished(() => server.close());
    const outcome = async (producerId: string): Promise<string> => {
      const answer = await send(server.url, "REST", bodies(), { signing: { producerId } });
      return answer.error?.reason ?? JSON.parse(answer.body.toString()).status;
    };
    const sees = (producerId: string, expected: string) =>
      eventually(expected, async () => (await outcome(producerId)) === expected, 5_000);

    for (const id of ids) expect(await outcome(id)).toBe("received");
    for (const [id, { change }] of Object.entries(changes)) {
      await sql`UPDATE producers SET ${sql(change)} WHERE producer_id = ${id}`;
    }
    for (const [id, { seen }] of Object.entries(changes)) await sees(id, seen);
    await sql`
      UPDATE producers
      SET enabled = true, allowed_instruments = NULL, rate_limit_per_second = NULL,
        require_approval = false
      WHERE producer_id = ANY (${ids})
    `;
    for (const id of ids) await sees(id, "received");
  });

  test("sees within seconds that a secret was added or has expired", async () => {
    const server = await startTestServer(testDatabase.url);
    onTestFinished(() => server.close());
    const secret = "a-secret-that-came-later-00001";
    const signing = { producerId: "late-bot", secret };
    const reason = async () =>
      (await send(server.url, "REST", bodies(), { signing })).error?.reason;
    expect(await reason()).toBe("UNAUTHENTICATED");
    await addProducers(testDatabase.url, [{ producerId: "late-bot", secrets: [{ secret }] }]);
    await eventually("the producer is known", async () => (await reason()) === undefined);
    await sql`UPDATE producer_secrets SET expires_at = now() WHERE producer_id = 'late-bot'`;
    await eventually("its secret expired", async () => (await reason()) === "UNAUTHENTICATED");
  });

  test("notes who was there, and with which secret for the first time", async () => {
    const secret = "a-secret-that-is-used-now-0001";
    await addProducers(testDatabase.url, [
      { producerId: "used-bot", secrets: [{ secret }, { secret: TEST_SECRET }] },
    ]);
    const server = await startTestServer(testDatabase.url);
    const outcome = async (signing: { secret?: string; timestamp?: string }) => {
      const options = { signing: { producerId: "used-bot", ...signing } };
      return (await send(server.url, "REST", bodies(), options)).error?.reason;
    };
    // Neither of these proves that somebody is there who has the secret.
    expect(await outcome({ secret: "another-secret-than-its-own" })).toBe("UNAUTHENTICATED");
    expect(await outcome({ timestamp: "2020-01-01T00:00:00Z" })).toBe("CLOCK_SKEW");
    await server.close();
    const uses = () => sql`
      SELECT last_seen_at, last_used_at FROM producers JOIN producer_secrets USING (producer_id)
      WHERE producer_id = 'used-bot' ORDER BY last_used_at
    `;
    expect(await uses()).toMatchObject(Array(2).fill({ last_seen_at: null, last_used_at: null }));

    const next = await startTestServer(testDatabase.url);
    const sent = await send(next.url, "REST", bodies(), {
      signing: { producerId: "used-bot", secret },
    });
    expect(sent.error).toBeUndefined();
    await next.close();
    const moment = expect.any(Date);
    expect(await uses()).toMatchObject([
      { last_seen_at: moment, last_used_at: moment },
      { last_seen_at: moment, last_used_at: null },
    ]);
    const entries =
      await sql`SELECT actor_name, action FROM audit_log WHERE producer_id = 'used-bot'`;
    expect([...entries]).toEqual([
      { actor_name: "producer used-bot", action: "producer_secret.first_use" },
    ]);
  });

  test("lets a connection be a stranger's again when the proof on it holds no more", async () => {
    await addProducers(testDatabase.url, [{ producerId: "proven-bot" }]);
    const server = await startTestServer(testDatabase.url);
    onTestFinished(() => server.close());
    const prover = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => prover.destroy());
    /** Asks for health over the one connection. @returns how often it was answered. */
    const answered = async () => {
      for (let count = 0; count < 1_000; count++) {
        if (!(await isAnswered(`${server.url}/api/v1/health`, prover))) return count;
      }
      return 1_000;
    };
    const body = Buffer.from(restBody());
    const headers = testHeaders(REST_PATH, body, { producerId: "proven-bot" });
    expect(await isAnswered(`${server.url}${REST_PATH}`, prover, { headers, body })).toBe(true);
    // A stranger has 500 at once.
    expect(await answered()).toBe(1_000);
    await sql`UPDATE producers SET enabled = false WHERE producer_id = 'proven-bot'`;
    await eventually("the change", async () => {
      const options = { signing: { producerId: "proven-bot" } };
      const { error } = await send(server.url, "REST", bodies(), options);
      return error?.reason === "PRODUCER_DISABLED";
    });
    expect(await answered()).toBeLessThan(1_000);
  });

  test("says once which secret does not open, and serves all others", async () => {
    const server = await startTestServer(testDatabase.url);
    onTestFinished(() => server.close());
    await addProducers(testDatabase.url, [
      {
        producerId: "foreign-bot",
        secrets: [{ secret: TEST_SECRET, masterKey: ANOTHER_MASTER_KEY }],
      },
      {
        producerId: "half-foreign-bot",
        secrets: [
          { secret: "another-secret-of-it-1", masterKey: ANOTHER_MASTER_KEY },
          { secret: TEST_SECRET },
        ],
      },
    ]);
    onTestFinished(async () => {
      await sql`DELETE FROM producer_secrets WHERE producer_id LIKE '%foreign-bot'`;
    });
    const reason = async (producerId: string) =>
      (await send(server.url, "REST", bodies(), { signing: { producerId } })).error?.reason;
    await eventually(
      "the new producer",
      async () => (await reason("half-foreign-bot")) === undefined,
    );
    expect(await reason(TEST_PRODUCER_ID)).toBeUndefined();
    expect(await reason("foreign-bot")).toBe("UNAUTHENTICATED");
    // A change that is seen shows that the producers were read again meanwhile.
    await sql`UPDATE producers SET enabled = false WHERE producer_id = 'half-foreign-bot'`;
    await eventually(
      "the next refresh",
      async () => (await reason("half-foreign-bot")) === "PRODUCER_DISABLED",
    );
    const lines = server.logLines.filter(({ msg }) => String(msg).includes("does not open"));
    expect(lines).toHaveLength(2);
    expect(lines.every(({ level }) => level === 50)).toBe(true);
    expect(JSON.stringify(lines)).toContain("COUNTERSIGN_MASTER_KEY");
    expectNoLeak(JSON.stringify(lines), testDatabase.url);
  });
});
