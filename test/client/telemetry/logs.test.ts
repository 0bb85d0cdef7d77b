import { pino } from "pino";
import { describe, expect, it } from "vitest";
import type { SignalClientOptions, SignalError } from "../../../src/client/index.ts";
import type { Reason } from "../../../src/signal/index.ts";
import { recordLog } from "../../support/recordLog.ts";
import {
  clientTo,
  failing,
  failingFirst,
  PRODUCER_ID,
  refusal,
  SECRET,
  SIGNAL_ID,
  startTestServer,
} from "../support/ingestServer.ts";
import { signalInput } from "../support/signals.ts";

const LEVELS: Readonly<Record<number, string>> = { 30: "info", 40: "warn", 50: "error" };

/** A pino logger as a bot has one, and what it wrote. */
function recordingLogger() {
  const log = recordLog();
  const lines = () => log.lines.map((line) => ({ ...line, level: LEVELS[Number(line.level)] }));
  return { logger: pino({ base: null }, log.stream), lines, text: () => JSON.stringify(log.lines) };
}

const refusalOf = (reason: Reason) =>
  refusal(reason, { message: `No\n${reason}.`, headers: { "x-request-id": "req-7" } });

describe("the log", () => {
  it("tells of each signal that was delivered", async () => {
    await using server = await startTestServer();
    const { logger, lines } = recordingLogger();
    await using client = clientTo(server, { logger });
    await client.ingest(signalInput(), { idempotencyKey: "key-1" });
    await client.ingestBatch([
      { signal: signalInput(), idempotencyKey: "key-2" },
      { signal: signalInput(), idempotencyKey: "key-3" },
    ]);
    expect(lines()).toMatchObject(
      ["key-1", "key-2", "key-3"].map((idempotency_key) => ({
        level: "info",
        msg: "the signal was delivered",
        producer_id: PRODUCER_ID,
        idempotency_key,
        signal_id: SIGNAL_ID,
        outcome: "stored",
        http_code: "200",
        duration_ms: expect.any(Number),
        retries: 0,
      })),
    );
  });

  it("warns of each retry", async () => {
    const away = refusalOf("STORE_UNAVAILABLE");
    await using server = await startTestServer({ service: failingFirst(away, away) });
    const { logger, lines } = recordingLogger();
    await using client = clientTo(server, { logger, retry: { baseDelayMs: 1, jitter: 0 } });
    await client.ingest(signalInput(), { idempotencyKey: "key-1" });
    expect(lines()).toMatchObject([
      {
        level: "warn",
        idempotency_key: "key-1",
        attempt: 1,
        delay_ms: 1,
        reason: "STORE_UNAVAILABLE",
        request_id: "req-7",
      },
      { level: "warn", attempt: 2, delay_ms: 2 },
      { level: "info", idempotency_key: "key-1", retries: 2 },
    ]);
  });

  it.each<[string, Reason, SignalClientOptions["retry"]]>([
    ["a refusal that stays", "PRODUCER_DISABLED", {}],
    ["a refusal that stays of a single attempt", "PRODUCER_DISABLED", false],
    ["retries that are used up", "STORE_UNAVAILABLE", { retriesMax: 0 }],
  ])("has an error for %s", async (_, reason, retry) => {
    await using server = await startTestServer({ service: failing(refusalOf(reason)) });
    const { logger, lines } = recordingLogger();
    await using client = clientTo(server, { logger, retry });
    await client.ingest(signalInput(), { idempotencyKey: "key-1" }).catch(() => {});
    expect(lines()).toMatchObject([
      {
        level: "error",
        idempotency_key: "key-1",
        reason,
        error: `[${reason}] No ${reason}.`,
        request_id: "req-7",
        http_code: reason === "PRODUCER_DISABLED" ? "403" : "503",
      },
    ]);
  });

  it("only warns if somebody else makes the next attempt, or if the caller gave up", async () => {
    const service = failing(refusalOf("STORE_UNAVAILABLE"));
    await using server = await startTestServer({ service });
    const { logger, lines } = recordingLogger();
    await using client = clientTo(server, { logger });
    const items = ["a", "b"].map((idempotencyKey) => ({ signal: signalInput(), idempotencyKey }));
    await client.ingestBatch(items, { retry: false }).catch(() => {});
    await client.ingest(signalInput(), { signal: AbortSignal.abort() }).catch(() => {});
    expect(lines()).toMatchObject([
      { level: "warn", signals: 2, idempotency_keys: ["a", "b"], reason: "STORE_UNAVAILABLE" },
      { level: "warn", reason: "CANCELLED" },
    ]);
  });

  it("names every wrong field of a signal that breaks rules, and each refused item", async () => {
    await using server = await startTestServer({
      service: {
        ingestBatch: () => ({
          responses: [
            {
              errors: [
                { reason: "INSTRUMENT_NOT_ALLOWED", field: "signal.instrument", description: "no" },
              ],
            },
            { errors: [{ reason: "STORE_UNAVAILABLE", field: "", description: "busy" }] },
          ],
        }),
      },
    });
    const { logger, lines } = recordingLogger();
    await using client = clientTo(server, { logger });
    await client.ingest(signalInput({ instrument: "?" })).catch(() => {});
    await client.ingestBatch([{ signal: signalInput() }, { signal: signalInput() }]);
    expect(lines()).toMatchObject([
      { level: "error", reason: "INVALID_SIGNAL", violations: [{ field: "signal.instrument" }] },
      {
        level: "error",
        reason: "INSTRUMENT_NOT_ALLOWED",
        http_code: "403",
        violations: [{ field: "signal.instrument", description: "no" }],
      },
      { level: "warn", reason: "STORE_UNAVAILABLE", http_code: "503" },
    ]);
  });

  it("never shows the secret or a signature, whatever goes wrong", async () => {
    const answers = [500, 503, 401, 429, 200];
    await using server = await startTestServer({
      intercept: (request, response) => {
        request.resume();
        response.writeHead(answers.shift() ?? 500).end("<h1>no</h1>");
        return true;
      },
    });
    const { logger, text } = recordingLogger();
    const retry = { baseDelayMs: 1, retriesMax: 1 };
    const circuitBreaker = { failuresMax: 2, halfOpenAfterMs: 1 };
    await using client = clientTo(server, { logger, retry, circuitBreaker });
    for (let n = 0; n < 6; n++) {
      await client.ingest(signalInput({ instrument: n === 5 ? "?" : "GOLD" })).catch(() => {});
    }
    expect(text()).toContain("circuit");
    expect(text()).not.toContain(SECRET);
    expect(text()).not.toContain(Buffer.from(SECRET).toString("hex"));
    for (const { headers } of server.requests) {
      expect(text()).not.toContain(String(headers["x-signature"]));
    }
  });

  it("that cannot be written does not make a stored signal fail", async () => {
    await using server = await startTestServer();
    const broken = () => {
      throw new Error("disk full");
    };
    const logger = { info: broken, warn: broken, error: broken };
    await using client = clientTo(server, { logger });
    await expect(client.ingest(signalInput())).resolves.toMatchObject({ outcome: "stored" });
    const refused = client.ingest(signalInput({ instrument: "?" }));
    const error: SignalError = await refused.catch((thrown) => thrown);
    expect(error.reason).toBe("INVALID_SIGNAL");
  });
});
