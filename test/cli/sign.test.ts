import { describe, expect, it } from "vitest";
import { serveFile } from "../support/serveFile.ts";
import { PROTO, producerEnv, run, runProcess, runShell, workspaceOfFile } from "./support/run.ts";
import { signalJson, storedSignals } from "./support/signals.ts";

const EXAMPLE = {
  PRODUCER_ID: "bot-1",
  HMAC_PRODUCER_SECRET: "countersign-example-secret-0001",
};
const EXAMPLE_BODY =
  '{"signal":{"instrument":"GOLD","side":"SIDE_BUY","entryPrice":2650.5,"stopLoss":2640,"strategyName":"trend","signalTime":"2025-10-25T14:30:45Z"},"idempotencyKey":"trend-000001"}';
const EXAMPLE_SIGNATURE = "YWih6rd67ase43tjRQgrGSNp9vxdkmdPEVDv2g4HPtc=";
const EXAMPLE_ARGS = ["sign", "--body", "-", "--timestamp", "2025-10-25T14:30:45.123456Z"];

describe("countersign sign", () => {
  it.each([
    [
      "curl",
      `-H 'x-producer-id: bot-1' -H 'x-timestamp: 2025-10-25T14:30:45.123456Z' -H 'x-signature: ${EXAMPLE_SIGNATURE}'\n`,
    ],
    [
      "headers",
      `x-producer-id: bot-1\nx-timestamp: 2025-10-25T14:30:45.123456Z\nx-signature: ${EXAMPLE_SIGNATURE}\n`,
    ],
    [
      "curl-config",
      `header = "x-producer-id: bot-1"\nheader = "x-timestamp: 2025-10-25T14:30:45.123456Z"\nheader = "x-signature: ${EXAMPLE_SIGNATURE}"\n`,
    ],
    [
      "json",
      `{"x-producer-id":"bot-1","x-timestamp":"2025-10-25T14:30:45.123456Z","x-signature":"${EXAMPLE_SIGNATURE}"}\n`,
    ],
  ])("prints the signature of the documented example as %s", async (format, stdout) => {
    const result = await run([...EXAMPLE_ARGS, "--format", format], {
      env: EXAMPLE,
      input: EXAMPLE_BODY,
    });
    expect(result).toEqual({ code: 0, stdout, stderr: "" });
  });

  it.each([
    [["--endpoint", "/signals.v1.IngestService/Ingest?x=1"], "--endpoint must be a path"],
    [["--endpoint", "http://127.0.0.1/x"], "--endpoint must be a path"],
    [["--timestamp", "2025-10-25 14:30:45"], "--timestamp must be RFC 3339"],
    [["--producer-id", "a b"], "The producer id must be"],
    [["--body", "nowhere.json"], "--body nowhere.json cannot be read: there is no such file."],
    [["--message", "IngestRequest"], "The body is not the JSON of an IngestRequest"],
  ])("ends with 2 for %j", async (args, message) => {
    const { code, stdout, stderr } = await run([...EXAMPLE_ARGS, ...args], {
      env: EXAMPLE,
      input: '{"signl":{}}',
    });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(message);
  });

  it("warns of a clock that cannot be right, unless the time is given", async () => {
    const NODE_OPTIONS = "--import=data:text/javascript,Date.now=()=>86400000";
    const env = { ...producerEnv(""), NODE_OPTIONS };
    const { code, stderr } = await runProcess(["sign", "--body", "-"], { env, input: "{}" });
    expect(code).toBe(0);
    expect(stderr).toContain(
      "the clock of this machine shows 1970-01-02T00:00:00Z, which cannot be",
    );
    const args = ["sign", "--body", "-", "--timestamp", "2025-10-25T14:30:45Z"];
    expect((await runProcess(args, { env, input: "{}" })).stderr).toBe("");
  });

  it("warns of JSON that no server takes, and signs it as it is", async () => {
    const { code, stderr } = await run(EXAMPLE_ARGS, { env: EXAMPLE, input: ` ${EXAMPLE_BODY}` });
    expect(code).toBe(0);
    expect(stderr).toContain("does not begin with {");
  });
});

describe("a request signed by it", () => {
  const served = serveFile();
  const workspace = workspaceOfFile();

  function shell(line: string) {
    const { url } = served.server;
    const env = { ...producerEnv(url), URL: url, PROTO };
    return runShell(line, { env, cwd: workspace.path });
  }

  async function storedUnder(key: string) {
    const rows = await storedSignals(served.sql);
    return rows.filter((row) => row.idempotency_key === key);
  }

  it.each([
    [
      "headers on standard input",
      `countersign sign --body rest.json --endpoint /api/v1/signals/ingest --format headers |
        curl -sS -H @- -H content-type:application/json --data-binary @rest.json "$URL/api/v1/signals/ingest"`,
    ],
    [
      "a configuration on standard input",
      `countersign sign --body rest.json --endpoint /api/v1/signals/ingest --format curl-config |
        curl -sS -K - -H content-type:application/json --data-binary @rest.json "$URL/api/v1/signals/ingest"`,
    ],
    [
      "options through eval",
      `eval "curl -sS $(countersign sign --body rest.json --endpoint /api/v1/signals/ingest)" \\
        -H content-type:application/json --data-binary @rest.json "$URL/api/v1/signals/ingest"`,
    ],
  ])("is taken from curl over REST, with %s", async (_, line) => {
    const key = `rest-${crypto.randomUUID()}`;
    await workspace.write("rest.json", `${signalJson({ idempotency_key: key })}\n`);
    const { code, stdout, stderr } = await shell(line);
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ status: "received" });
    expect(await storedUnder(key)).toMatchObject([{ instrument: "GOLD", entry_price: 1_950.5 }]);
  });

  it("is taken from curl as Connect JSON", async () => {
    await workspace.write("connect.json", EXAMPLE_BODY);
    const { stdout } = await shell(
      `countersign sign --body connect.json --format headers |
        curl -sS -H @- -H content-type:application/json --data-binary @connect.json "$URL/signals.v1.IngestService/Ingest"`,
    );
    expect(JSON.parse(stdout)).toMatchObject({ status: "SIGNAL_STATUS_RECEIVED" });
    expect(await storedUnder("trend-000001")).toMatchObject([{ stop_loss: 2_640 }]);
  });

  // Every kind of value, and keys that JavaScript would put into another order.
  const PAYLOAD = {
    z: [1, [], {}, null, "", false, -0.5, { b: 1, a: 2 }],
    10: 0,
    9: true,
    "": "empty",
    é: 1,
    "\ue000": 2,
    "\u{1f600}": 3,
    Z: { 2: 1, "10": 2, "-": 3 },
  };

  it.each(["grpc", "grpcweb", "connect"])("is taken from buf curl by %s", async (protocol) => {
    const signal = {
      instrument: "EURUSD",
      side: "SIDE_BUY",
      entryPrice: 1_950.5,
      confidence: 0,
      reason: "Über dem\tHoch",
      signalTime: "2025-10-25T14:30:45.123456789Z",
      expireTime: "2099-01-01T02:00:00.5+02:00",
      payload: PAYLOAD,
    };
    const body = JSON.stringify({ signal, idempotencyKey: protocol }, null, 2);
    await workspace.write("buf.json", body);
    const { code, stdout, stderr } = await shell(
      `countersign sign --body buf.json --message IngestRequest --format headers |
        buf curl --schema "$PROTO" --protocol ${protocol} --http2-prior-knowledge -H @- -d @buf.json \\
          "$URL/signals.v1.IngestService/Ingest"`,
    );
    expect([code, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toMatchObject({ status: "SIGNAL_STATUS_RECEIVED" });
    expect(await storedUnder(protocol)).toMatchObject([{ instrument: "EURUSD", payload: PAYLOAD }]);
  });

  it("is taken from buf curl as a batch, with options through eval", async () => {
    const requests = ["batch-1", "batch-2"].map((idempotencyKey) => ({
      signal: {
        instrument: "GOLD",
        side: "SIDE_SELL",
        entryPrice: 1_950.5,
        signalTime: "2025-10-25T14:30:45Z",
        payload: { b: 1, a: 2 },
      },
      idempotencyKey,
    }));
    await workspace.write("batch.json", JSON.stringify({ requests }));
    const { stdout } = await shell(
      `endpoint=/signals.v1.IngestService/IngestBatch
      eval "buf curl --schema '$PROTO' --protocol grpc --http2-prior-knowledge -d @batch.json \\
        $(countersign sign --body batch.json --message IngestBatchRequest --endpoint $endpoint)" "$URL$endpoint"`,
    );
    expect(JSON.parse(stdout).responses).toHaveLength(2);
    expect(await storedUnder("batch-2")).toHaveLength(1);
  });
});
