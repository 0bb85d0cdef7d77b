import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer, text } from "node:stream/consumers";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  type IngestRequest,
  IngestRequestSchema,
  IngestResponseSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
import { listen } from "../support/listen.ts";
import { serveFile } from "../support/serveFile.ts";
import {
  jsonLines,
  producerEnv,
  type RunOptions,
  run,
  start,
  workspaceOfFile,
} from "./support/run.ts";
import { signalJson, storedSignals } from "./support/signals.ts";

const served = serveFile();
const workspace = workspaceOfFile();

function send(args: readonly string[], options: RunOptions = {}) {
  const env = { ...producerEnv(served.server.url), ...options.env };
  return run(["send", ...args], { ...options, env });
}

async function storedUnder(prefix: string) {
  const rows = await storedSignals(served.sql);
  return rows.filter((row) => String(row.idempotency_key).startsWith(prefix));
}

const GOLD = ["--instrument", "GOLD", "--side", "buy", "--entry-price", "1950.5"];

function lastLine(output: string): string | undefined {
  return output.trimEnd().split("\n").at(-1);
}

describe("a number that a double would change", () => {
  const payload = '{"order":{"id":9007199254740993}}';

  it("refuses the line that has it, and names where it stands", async () => {
    const lines = [
      signalJson({ idempotency_key: "exact-1" }),
      signalJson({ idempotency_key: "exact-2" }).replace("{", `{"payload":${payload},`),
    ];
    const { code, stdout } = await send(["--stdin", "--json"], { input: lines.join("\n") });
    expect(code).toBe(1);
    expect(jsonLines(stdout)).toMatchObject([
      { outcome: "stored" },
      { outcome: "refused", errors: [{ field: "payload.order.id" }] },
    ]);
    expect(await storedUnder("exact-")).toHaveLength(1);
  });

  it.each([
    ["--payload", payload, "payload.order.id has more digits than a double holds"],
    ["--stop-loss", "1940.123456789012345678", "more digits than a double holds"],
  ])("refuses %s %s", async (option, value, told) => {
    const { code, stderr } = await send([...GOLD, option, value]);
    expect(code).toBeGreaterThan(0);
    expect(stderr).toContain(told);
  });
});

describe("one signal", () => {
  it("is stored, and shown in a table", async () => {
    const key = ["--idempotency-key", "flags-1", "--comment", "-", "--payload", '{"a":[1]}'];
    const { code, stdout, stderr } = await send([...GOLD, ...key]);
    expect([code, stderr]).toEqual([0, ""]);
    const [row] = await storedUnder("flags-");
    expect(stdout).toBe(
      "OUTCOME      STATUS                   SIGNAL ID                             IDEMPOTENCY KEY\n" +
        `stored       received                 ${row?.signal_id}  flags-1\n`,
    );
    expect(row).toMatchObject({ instrument: "GOLD", comment: "-", payload: { a: [1] } });
  });

  it("that was stored before is a duplicate, by whatever protocol it comes again", async () => {
    const file = await workspace.write("again.json", signalJson({ idempotency_key: "again-1" }));
    const ways = [
      ["--protocol", "grpc"],
      ["--protocol", "grpc-web"],
      ["--codec", "json"],
    ];
    const runs = [];
    for (const way of ways) runs.push(await send(["--file", file, "--json", ...way]));
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0]);
    const results = runs.flatMap(({ stdout }) => jsonLines(stdout));
    expect(results.map(({ outcome }) => outcome)).toEqual(["stored", "duplicate", "duplicate"]);
    expect(new Set(results.map((result) => result.signal_id)).size).toBe(1);
    expect(results[0]).toMatchObject({ idempotency_key: "again-1", status: "received" });
    expect(results[0]?.server_timestamp).toMatch(/Z$/);
  });

  it("is not stored with --validate-only", async () => {
    const key = ["--idempotency-key", "valid-1", "--validate-only", "--json"];
    const { code, stdout } = await send([...GOLD, ...key]);
    expect(code).toBe(0);
    expect(jsonLines(stdout)).toMatchObject([{ outcome: "valid" }]);
    expect(await storedUnder("valid-")).toEqual([]);
  });

  it("that breaks rules ends with 1, and every wrong field is named", async () => {
    const { code, stdout, stderr } = await send([
      ...GOLD,
      "--stop-loss",
      "2000",
      "--confidence",
      "7",
    ]);
    expect(code).toBe(1);
    expect(stdout).toContain("refused      INVALID_SIGNAL");
    expect(stderr).toBe(
      "countersign: refused, not stored by this run: INVALID_SIGNAL: confidence must be a number from 0 to 1; " +
        "stop_loss must be below entry_price for a buy\n",
    );
  });

  it("signed with a wrong secret ends with 1, and what to look at is told", async () => {
    const env = { HMAC_PRODUCER_SECRET: "not-the-secret-of-the-test-bot" };
    const { code, stderr } = await send(GOLD, { env });
    expect(code).toBe(1);
    expect(stderr).toContain("UNAUTHENTICATED");
    expect(stderr).toContain(
      "Check that the producer id (PRODUCER_ID) and the secret (HMAC_PRODUCER_SECRET) are those",
    );
    expect(stderr).not.toContain(env.HMAC_PRODUCER_SECRET);
  });
});

describe("a wrong command line or configuration ends with 2 and sends nothing", () => {
  it.each<[readonly string[], NodeJS.ProcessEnv, string]>([
    [["signals.json"], {}, "give --file signals.json"],
    [[], {}, "There is no signal."],
    [[...GOLD, "--file", "x.json"], {}, "only one of them"],
    [[...GOLD, "--stdin"], {}, "only one of them"],
    [["--file", "x.json", "-"], {}, "only one of them"],
    [["--file", "nowhere.json"], {}, "--file nowhere.json cannot be read: there is no such file."],
    [["--file", "nowhere.ndjson"], {}, "--file nowhere.ndjson cannot be read"],
    [GOLD, { OUTBOUND_SERVER_URL: "" }, "OUTBOUND_SERVER_URL (--url) is required"],
    [
      [...GOLD, "--timeout", "301", "--protocol", "grpc", "--codec", "json"],
      {},
      "--timeout, in milliseconds, must be a whole number from 1 to 300000; --codec may be json with",
    ],
    [GOLD, { HMAC_PRODUCER_ENABLED: "false" }, "HMAC_PRODUCER_ENABLED is false"],
  ])("%j %j", async (args, env, message) => {
    const { code, stdout, stderr } = await send(args, { env });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^countersign: [^\n]+\n$/);
    expect(stderr).toContain(message);
  });

  it("a file that is not JSON", async () => {
    const file = await workspace.write("bad.json", "{");
    const { code, stderr } = await send(["--file", file]);
    expect(code).toBe(2);
    expect(stderr).toContain("bad.json is not JSON");
  });

  it("one key for several signals", async () => {
    const file = await workspace.write("two.json", `[${signalJson()},${signalJson()}]`);
    const { code, stderr } = await send(["--file", file, "--idempotency-key", "one-for-two"]);
    expect(code).toBe(2);
    expect(stderr).toContain("--idempotency-key names one signal");
    expect(await storedUnder("one-for-two")).toEqual([]);
  });
});

describe("many signals", () => {
  it("of a file are stored or refused by themselves, in both spellings", async () => {
    const file = await workspace.write(
      "array.json",
      JSON.stringify([
        {
          instrument: "GOLD",
          side: 0,
          entry_price: 1,
          stop_loss: null,
          idempotency_key: "array-1",
        },
        { instrument: "GOLD", side: "sell", entryPrice: 2, idempotencyKey: "array-2" },
        {
          signal: { instrument: "GOLD", side: "SIDE_SELL", entry_price: 3 },
          idempotency_key: "array-3",
        },
        {
          instrument: "GOLD",
          side: "buy",
          entry_price: 4,
          stop_lose: 1,
          idempotency_key: "array-4",
        },
        { instrument: "GOLD", side: "buy", entry_price: 5, entryPrice: 6 },
        17,
      ]),
    );
    const { code, stdout, stderr } = await send(["--file", file, "--json"]);
    expect(code).toBe(1);
    expect(jsonLines(stdout).map(({ item, outcome }) => [item, outcome])).toEqual([
      [1, "stored"],
      [2, "stored"],
      [3, "stored"],
      [4, "refused"],
      [5, "refused"],
      [6, "refused"],
    ]);
    expect(stderr.split("\n")).toEqual([
      "countersign: item 4 refused, not stored by this run: INVALID_SIGNAL: stop_lose is not a field of a signal (did you mean stopLoss?)",
      "countersign: item 5 refused, not stored by this run: MALFORMED_BODY: entryPrice is given twice, with different values",
      "countersign: item 6 refused, not stored by this run: MALFORMED_BODY: must be a JSON object",
      "countersign: 6 signals: 3 stored, 3 refused",
      "",
    ]);
    expect(await storedUnder("array-")).toMatchObject([
      { side: "buy", entry_price: 1, stop_loss: null },
      { side: "sell", entry_price: 2 },
      { side: "sell", entry_price: 3 },
    ]);
  });

  it("of a pipe are stored although lines between them are wrong", async () => {
    const lines = [
      `\ufeff${signalJson({ idempotency_key: "line-1" })}\r`,
      "",
      "{not json",
      signalJson({ idempotency_key: "line-4", entry_price: -1 }),
      signalJson({ idempotency_key: "line-5", payload: { pad: "x".repeat(40_000) } }),
      signalJson({ idempotency_key: "line-6", expire_time: "2025-10-26T00:00:00Z" }),
      "\ufffd".repeat(400_000),
      signalJson({ idempotency_key: "line-8", validate_only: true }),
      signalJson({ idempotency_key: "line-9" }),
    ];
    const { code, stdout, stderr } = await send(["-", "--json"], { input: lines.join("\n") });
    expect(code).toBe(1);
    expect(jsonLines(stdout).map(({ line, outcome, reason }) => [line, reason ?? outcome])).toEqual(
      [
        [1, "stored"],
        [3, "MALFORMED_BODY"],
        [4, "INVALID_SIGNAL"],
        [5, "INVALID_SIGNAL"],
        [6, "SIGNAL_EXPIRED"],
        [7, "MALFORMED_BODY"],
        [8, "valid"],
        [9, "stored"],
      ],
    );
    expect(stderr).toContain("line 3 refused, not stored by this run: MALFORMED_BODY: is not JSON");
    expect(stderr).toContain(
      "line 4 refused, not stored by this run: INVALID_SIGNAL: entry_price must be",
    );
    expect(stderr).toContain(
      "line 7 refused, not stored by this run: MALFORMED_BODY: is longer than",
    );
    expect(stderr).toContain("8 signals: 2 stored, 5 refused, 1 valid\n");
    expect((await storedUnder("line-")).map((row) => row.idempotency_key)).toEqual([
      "line-1",
      "line-9",
    ]);
  });

  it("are 5,000 in a file, each stored once, also when it is sent again", async () => {
    const lines = Array.from({ length: 5_000 }, (_, index) =>
      signalJson({ idempotency_key: `many-${index + 1}`, entry_price: index + 1 }),
    );
    const file = await workspace.write("many.ndjson", `${lines.join("\n")}\n`);
    const first = await send(["--file", file]);
    // A slow machine gets lines of progress first.
    expect(lastLine(first.stderr)).toBe("countersign: 5000 signals: 5000 stored");
    expect(first.code).toBe(0);
    const rows = first.stdout.split("\n");
    expect(rows).toHaveLength(5_002);
    expect(rows[5_000]).toMatch(/^5000 +stored +received +[0-9a-f-]{36} +many-5000$/);
    const second = await send(["--file", file, "--json"]);
    expect(lastLine(second.stderr)).toBe("countersign: 5000 signals: 5000 duplicate");
    const stored = await storedUnder("many-");
    expect(stored).toHaveLength(5_000);
    expect(
      jsonLines(second.stdout)
        .map((result) => result.signal_id)
        .sort(),
    ).toEqual(stored.map((row) => row.signal_id).sort());
  });

  it("that come slowly are each sent at once", async () => {
    const child = start(["send", "--stdin", "--json"], { env: producerEnv(served.server.url) });
    child.stdin?.write(`${signalJson({ idempotency_key: "slow-1" })}\n`);
    const [chunk] = await once(child.stdout as NodeJS.ReadableStream, "data");
    expect(JSON.parse(String(chunk))).toMatchObject({ line: 1, outcome: "stored" });
    child.stdin?.end();
    expect((await once(child, "exit"))[0]).toBe(0);
  });

  it("go on being sent when nobody reads the results any more", async () => {
    const child = start(["send", "--stdin"], { env: producerEnv(served.server.url) });
    child.stdout?.destroy();
    const stderr = text(child.stderr as NodeJS.ReadableStream);
    for (let n = 1; n <= 300; n++)
      child.stdin?.write(`${signalJson({ idempotency_key: `pipe-${n}` })}\n`);
    child.stdin?.end();
    expect((await once(child, "exit"))[0]).toBe(0);
    expect(await stderr).toBe("countersign: 300 signals: 300 stored\n");
    expect(await storedUnder("pipe-")).toHaveLength(300);
  });

  it("stop when a person says so, and what was not sent is told", async () => {
    const child = start(["send", "--stdin", "--json"], { env: producerEnv(served.server.url) });
    const stderr = text(child.stderr as NodeJS.ReadableStream);
    child.stdin?.write(`${signalJson({ idempotency_key: "stop-1" })}\n`);
    await once(child.stdout as NodeJS.ReadableStream, "data");
    child.kill("SIGINT");
    expect((await once(child, "exit"))[0]).toBe(3);
    expect(await stderr).toBe("countersign: 1 signal: 1 stored; nothing after number 1 was sent\n");
  });

  it("end early when all of them would be refused", async () => {
    const input = Array.from({ length: 250 }, () => signalJson()).join("\n");
    const { code, stdout, stderr } = await send(["-", "--producer-id", "stranger", "--json"], {
      input,
    });
    expect(code).toBe(1);
    expect(jsonLines(stdout)).toHaveLength(100);
    expect(stderr).toContain("100 signals: 100 refused; nothing after number 100 was sent");
  });
});

describe("a signal that is not known to be stored", () => {
  it("is told with the command that sends it again, and no more, when a person stops the run", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const child = start(["send", "--stdin"], { env: producerEnv(`http://127.0.0.1:${port}`) });
    const stderr = text(child.stderr as NodeJS.ReadableStream);
    child.stdin?.end(signalJson({ idempotency_key: "stopped-1" }));
    await once(silent, "request");
    child.kill("SIGINT");
    expect((await once(child, "exit"))[0]).toBe(3);
    expect(await stderr).toContain("CANCELLED");
    expect(await stderr).not.toContain("Look the signal up");
    silent.close();
  });

  it("ends with 3, and can be sent again as it was", async () => {
    const input = `${signalJson({ timestamp: undefined, reason: "again" })}\n`;
    const failed = await send(["-", "--json", "--retries", "0", "--url", "http://127.0.0.1:1"], {
      input,
    });
    expect(failed.code).toBe(3);
    const [result] = jsonLines(failed.stdout);
    expect(result).toMatchObject({ line: 1, outcome: "unconfirmed", reason: "UNREACHABLE" });
    expect(failed.stderr).toContain(
      `line 1 not stored yet (key ${result?.idempotency_key}): UNREACHABLE`,
    );
    expect(failed.stderr).toContain("Check that the server runs");

    const resend = `${JSON.stringify(result?.resend)}\n`;
    const [first] = jsonLines((await send(["-", "--json"], { input: resend })).stdout);
    const again = await send(["--file", "-", "--json"], { input: resend });
    const [second] = jsonLines(again.stdout);
    expect([first?.outcome, second?.outcome]).toEqual(["stored", "duplicate"]);
    expect(first?.idempotency_key).toBe(result?.idempotency_key);
  });

  it("is sent again under the same key, and signed anew each time", async () => {
    const seen: { readonly request: IngestRequest; readonly signature: unknown }[] = [];
    const answerAtLast: RequestListener = async (incoming, outgoing) => {
      const request = fromBinary(IngestRequestSchema, await buffer(incoming));
      seen.push({ request, signature: incoming.headers["x-signature"] });
      if (seen.length < 3) {
        outgoing.writeHead(503).end();
        return;
      }
      const answer = create(IngestResponseSchema, { signalId: "stored-at-last" });
      outgoing.writeHead(200, { "content-type": "application/proto" });
      outgoing.end(toBinary(IngestResponseSchema, answer));
    };
    await using flaky = await listen(createServer(answerAtLast));
    const { code, stdout, stderr } = await send([...GOLD, "--url", flaky.url, "--json"]);
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /\[UNREACHABLE\].*[.] Trying again in 0\.[45] s\.\n.*[.] Trying again in /,
    );
    expect(jsonLines(stdout)).toMatchObject([{ signal_id: "stored-at-last" }]);
    expect(seen).toHaveLength(3);
    expect(seen[2]?.request).toEqual(seen[0]?.request);
    expect(new Set(seen.map(({ signature }) => signature)).size).toBe(3);
  });
});
