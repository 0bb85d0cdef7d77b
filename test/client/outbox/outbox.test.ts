/**
 * The outbox with real files, a real client and a real server.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { create, fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Counter, Gauge, Registry } from "prom-client";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import {
  IngestBatchRequestSchema,
  IngestBatchResponseSchema,
  IngestRequestSchema,
  IngestResponseSchema,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import { SignalStatus } from "../../../gen/signals/v1/signal_pb.ts";
import {
  createOutbox,
  createSignalClient,
  OutboxFullError,
  SignalError,
  type SignalInput,
} from "../../../src/client/index.ts";
import type { OutboxItem } from "../../../src/client/outbox/entry.ts";
import { OutboxFile } from "../../../src/client/outbox/file.ts";
import { OutboxNotices } from "../../../src/client/outbox/notices.ts";
import {
  type CapturedRequest,
  PRODUCER_ID,
  SECRET,
  startTestServer,
  storedResponse,
} from "../support/ingestServer.ts";
import { problemsOf } from "../support/problems.ts";
import { INDEX, PROGRAM_ARGS, runProgram } from "../support/program.ts";
import { openOutbox, outboxPath, RecordingAlerts, SIGNAL, silent, unreachable } from "./support.ts";

/** Waits that are short enough for a test. */
const QUICK = { baseDelayMs: 20, delayMaxMs: 50 };

function clientOf(serverUrl: string) {
  const client = createSignalClient({
    serverUrl,
    producerId: PRODUCER_ID,
    secret: SECRET,
    circuitBreaker: false,
  });
  onTestFinished(() => client.close());
  return client;
}

const refusal = create(IngestResponseSchema, {
  status: SignalStatus.REJECTED,
  message: "no",
  errors: [{ reason: "INSTRUMENT_NOT_ALLOWED" }],
});

/** The requests for single signals that a server was sent, one by one or in batches. */
function sentRequests(requests: readonly CapturedRequest[]) {
  return requests.flatMap(({ path, message }) =>
    path.endsWith("IngestBatch")
      ? fromBinary(IngestBatchRequestSchema, message).requests
      : [fromBinary(IngestRequestSchema, message)],
  );
}

const sentKeys = (requests: readonly CapturedRequest[]) =>
  sentRequests(requests).map(({ idempotencyKey }) => idempotencyKey);

describe("an outbox", () => {
  it("delivers what it took, also what another process took before it was killed", async () => {
    const path = outboxPath();
    const program = `
      import { createOutbox, SignalError } from ${INDEX};
      const fail = () => Promise.reject(new SignalError("UNREACHABLE", "no server"));
      const outbox = createOutbox({ path: ${JSON.stringify(path)}, client: { ingest: fail, ingestBatch: fail } });
      for (let n = 0; ; n++) {
        await outbox.enqueue(${JSON.stringify(SIGNAL)}, { idempotencyKey: "key-" + n });
        console.log("key-" + n);
      }`;
    const child = spawn(process.execPath, [...PROGRAM_ARGS, program], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    await vi.waitFor(() => expect(output).toContain("key-50\n"), 20_000);
    expect(() => openOutbox({ path })).toThrow(
      expect.objectContaining({ reason: "OUTBOX_LOCKED", message: expect.stringContaining(path) }),
    );
    child.kill("SIGKILL");
    await once(child, "close");
    const acknowledged = output.trim().split("\n");

    await using server = await startTestServer();
    const alerts = new RecordingAlerts();
    const outbox = openOutbox({ path, client: clientOf(server.url), alerts });
    expect(await outbox.flush(20_000)).toBe(true);
    const sent = sentKeys(server.requests);
    expect(sent.slice(0, acknowledged.length)).toEqual(acknowledged);
    // What was on disk when its process was killed, but not yet told, may come as well.
    expect(sent.length - acknowledged.length).toBeLessThanOrEqual(1);
    expect(alerts.sent).toEqual([]);
  });

  it("sends the same signal under the same key in every attempt, signed anew", async () => {
    let failures = 3;
    await using server = await startTestServer({
      service: {
        ingest: () => {
          failures -= 1;
          if (failures >= 0) throw new SignalError("STORE_UNAVAILABLE", "for a test");
          return storedResponse();
        },
      },
    });
    const outbox = openOutbox({ path: outboxPath(), client: clientOf(server.url), retry: QUICK });
    const { idempotencyKey } = await outbox.enqueue({ ...SIGNAL, payload: { b: 1, a: [2] } });
    expect(await outbox.flush(10_000)).toBe(true);
    const { requests } = server;
    expect(requests).toHaveLength(4);
    expect(new Set(requests.map(({ message }) => message.toString("hex"))).size).toBe(1);
    expect(new Set(requests.map(({ headers }) => headers["x-signature"])).size).toBe(4);
    expect(new Set(sentKeys(requests))).toEqual(new Set([idempotencyKey]));
    expect(sentRequests(requests)[0]?.signal?.signalTime).toBeDefined();
  });

  it("sets a refused signal aside, tells people, and delivers its neighbours", async () => {
    await using server = await startTestServer({
      service: {
        ingestBatch: ({ requests }) =>
          create(IngestBatchResponseSchema, {
            responses: requests.map(({ idempotencyKey }) =>
              idempotencyKey === "bad" ? refusal : storedResponse(),
            ),
          }),
      },
    });
    const path = outboxPath();
    const registry = new Registry();
    const first = openOutbox({ path });
    for (const idempotencyKey of ["a", "bad", "b"]) await first.enqueue(SIGNAL, { idempotencyKey });
    await first.close();
    const alerts = new RecordingAlerts();
    const outbox = openOutbox({ path, client: clientOf(server.url), alerts, registry });
    expect(await outbox.flush(10_000)).toBe(true);
    expect(outbox.status()).toMatchObject({ pending: 0, deadLetters: 1 });
    expect(alerts.kinds).toEqual(["delivery_failed"]);
    expect(alerts.sent[0]?.text).toContain(`countersign outbox retry --file ${path} bad`);
    expect(await outbox.enqueue(SIGNAL, { idempotencyKey: "c" })).toMatchObject({
      state: "pending",
    });
    await outbox.flush(5_000);
    const scrape = await registry.metrics();
    expect(scrape).toMatch(/^signals_outbox_depth 0$/m);
    expect(scrape).toMatch(/^signals_outbox_bytes [1-9]\d*$/m);
    expect(scrape).toMatch(/^signals_outbox_oldest_age_seconds 0$/m);
    expect(scrape).toMatch(/^signals_outbox_dead_letters\{reason="INSTRUMENT_NOT_ALLOWED"\} 1$/m);
    expect(scrape).toMatch(/^signals_outbox_delivered_total 3$/m);
  });
});

it("tells people what to fix: who they are for the server, or where it is", async () => {
  await using page = await startTestServer({
    listener: (request, response) => {
      request.resume();
      response.writeHead(404).end("<h1>A page</h1>");
    },
  });
  await using server = await startTestServer({
    service: {
      ingest: () => {
        const value = { reason: "UNAUTHENTICATED", domain: "signals.v1" };
        const details = [{ desc: ErrorInfoSchema, value }];
        throw new ConnectError("No such producer.", Code.Unauthenticated, undefined, details);
      },
    },
  });
  const off = createSignalClient({ enabled: false });
  const texts: string[] = [];
  for (const client of [clientOf(page.url), clientOf(server.url), off]) {
    const alerts = new RecordingAlerts();
    const outbox = openOutbox({ path: outboxPath(), client, alerts });
    await outbox.enqueue(SIGNAL);
    await vi.waitFor(() => expect(alerts.kinds).toEqual(["delivery_held"]));
    texts.push(alerts.sent[0]?.text ?? "");
  }
  const [wrongUrl, wrongSecret, switchedOff] = texts;
  expect(wrongUrl).toContain(
    `[REFUSED] HTTP 404 from ${page.url}/signals.v1.IngestService/Ingest is no answer of`,
  );
  expect(wrongUrl).toContain(`The producer test-bot sends to ${new URL(page.url).host}.`);
  expect(wrongSecret).toMatch(
    /\[UNAUTHENTICATED\] No such producer\. The producer test-bot sends to .*PRODUCER_ID.*HMAC_PRODUCER_SECRET/,
  );
  expect(switchedOff).toContain("nothing until you act. The client is switched off (HMAC");
  expect(switchedOff).not.toContain("UNKNOWN");
});

it("tells people of dead letters again at each start, in case they never heard", async () => {
  const path = outboxPath();
  const refuse = () => Promise.reject(new SignalError("INVALID_SIGNAL", "for a test"));
  const first = openOutbox({ path, client: { ingest: refuse, ingestBatch: refuse } });
  await first.enqueue(SIGNAL);
  await first.flush(5_000);
  await first.close();
  const alerts = new RecordingAlerts();
  await openOutbox({ path, alerts }).close();
  expect(alerts.sent).toEqual([
    {
      kind: "delivery_failed",
      text: expect.stringContaining("(INVALID_SIGNAL: 1)"),
    },
  ]);
});

describe("enqueue", () => {
  it("refuses a wrong signal with every wrong field, and stores nothing", async () => {
    const outbox = openOutbox({ path: outboxPath() });
    const wrong = { instrument: "gold", side: "long", entryPrice: -1 } as unknown as SignalInput;
    const error = await outbox.enqueue(wrong, { idempotencyKey: "a b" }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(SignalError);
    expect(error.violations.map(({ field }: { field: string }) => field).sort()).toEqual([
      "idempotency_key",
      "signal.entry_price",
      "signal.instrument",
      "signal.side",
    ]);
    await expect(
      outbox.enqueue({ ...SIGNAL, payload: { text: "x".repeat(40_000) } }),
    ).rejects.toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
    expect(outbox.status().pending).toBe(0);
  });

  it("goes by the client's clock, which knows more than the machine's", async () => {
    const clock = { now: () => BigInt(Date.UTC(2030, 0, 1)) * 1_000_000n };
    const outbox = openOutbox({ path: outboxPath(), client: { ...unreachable, clock } });
    await outbox.enqueue({ ...SIGNAL, expireTime: new Date("2030-01-01T00:10:00Z") });
    await expect(
      outbox.enqueue({ ...SIGNAL, expireTime: new Date("2029-12-31T23:50:00Z") }),
    ).rejects.toMatchObject({ violations: [{ field: "signal.expire_time" }] });
    expect(outbox.status()).toMatchObject({ pending: 1, deadLetters: 0 });
  });

  it("takes a key once, and refuses another content under it", async () => {
    const outbox = openOutbox({ path: outboxPath() });
    const key = { idempotencyKey: "key" };
    const [one, other] = await Promise.all([
      outbox.enqueue(SIGNAL, key),
      outbox.enqueue(SIGNAL, key),
    ]);
    expect([one?.duplicate, other?.duplicate]).toEqual([false, true]);
    expect(await outbox.enqueue(SIGNAL, key)).toMatchObject({ duplicate: true, state: "pending" });
    await expect(outbox.enqueue({ ...SIGNAL, entryPrice: 1 }, key)).rejects.toMatchObject({
      reason: "IDEMPOTENCY_KEY_REUSED",
    });
    await expect(
      outbox.enqueue({ ...SIGNAL, signalTime: "2025-01-01T00:00:00Z" }, key),
    ).rejects.toMatchObject({ reason: "IDEMPOTENCY_KEY_REUSED" });
    expect(outbox.status().pending).toBe(1);
  });

  it("refuses what is too much, and alerts once before", async () => {
    const alerts = new RecordingAlerts();
    const outbox = openOutbox({ path: outboxPath(), maxSignals: 10, alerts });
    for (let n = 0; n < 10; n++) await outbox.enqueue(SIGNAL);
    const error = await outbox.enqueue(SIGNAL).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(OutboxFullError);
    expect(error.message).toMatch(/10 signals.*raise maxSignals.*countersign outbox status/);
    expect(alerts.kinds).toEqual(["outbox_filling"]);
    expect(outbox.status().pending).toBe(10);
    const bytes = openOutbox({ path: outboxPath(), maxBytes: 65_536 });
    const big = { ...SIGNAL, payload: { text: "x".repeat(30_000) } };
    await bytes.enqueue(big);
    await bytes.enqueue(big);
    await expect(bytes.enqueue(big)).rejects.toThrow("65536 bytes");
  });

  it("refuses when the outbox is closed", async () => {
    const outbox = openOutbox({ path: outboxPath() });
    await outbox.close();
    await expect(outbox.enqueue(SIGNAL)).rejects.toMatchObject({ reason: "OUTBOX_CLOSED" });
    expect(outbox.status().state).toBe("closed");
  });
});

describe("flush", () => {
  it("tells when time is over or the outbox is closed before all is delivered", async () => {
    const outbox = openOutbox({ path: outboxPath() });
    expect(await outbox.flush(1)).toBe(true);
    await outbox.enqueue(SIGNAL);
    expect(await outbox.flush(30)).toBe(false);
    const flushed = outbox.flush(60_000);
    await outbox.close();
    expect(await flushed).toBe(false);
  });

  it("waits without end if that is wanted, and so does a close", async () => {
    const gate = Promise.withResolvers<void>();
    await using server = await startTestServer({
      service: { ingest: () => gate.promise.then(() => storedResponse()) },
    });
    const outbox = openOutbox({ path: outboxPath(), client: clientOf(server.url) });
    await outbox.enqueue(SIGNAL);
    const flushed = outbox.flush(Number.POSITIVE_INFINITY);
    await vi.waitFor(() => expect(server.requests).toHaveLength(1));
    const closed = outbox.close({ drainMs: Number.POSITIVE_INFINITY });
    setTimeout(gate.resolve, 100);
    expect(await flushed).toBe(true);
    await closed;
  });
});

describe("the options", () => {
  it("are judged, all at once", () => {
    const options = { path: "", client: {}, maxSignals: 0, retry: { jitter: 2 }, surplus: 1 };
    expect(problemsOf(() => openOutbox(options as never)).sort()).toEqual([
      "client",
      "maxSignals",
      "path",
      "retry.jitter",
      "surplus",
    ]);
  });

  it("are told as those of the outbox, also if there are none at all", () => {
    for (const nothing of [undefined, null, {}]) {
      expect(() => createOutbox(nothing as never)).toThrow(
        /^The outbox's configuration is wrong: path must be .*; client must be /,
      );
    }
  });
});

/** A tiny disk; `undefined` where none may be mounted. */
function smallDisk(): string | undefined {
  const folder = `${dirname(outboxPath())}-disk`;
  mkdirSync(folder);
  const [mount, unmount] = ["mount", "umount"];
  const { status } = spawnSync(mount, ["-t", "tmpfs", "-o", "size=256k", "none", folder]);
  onTestFinished(() => {
    if (status === 0) spawnSync(unmount, [folder]);
    rmSync(folder, { recursive: true, force: true });
  });
  return status === 0 ? folder : undefined;
}

describe("a full disk", () => {
  it("makes enqueue fail clearly, keeps what is there, and is overcome", async ({ skip }) => {
    const folder = smallDisk();
    if (folder === undefined) return skip("a tmpfs cannot be mounted here, which takes root");
    const alerts = new RecordingAlerts();
    await using server = await startTestServer();
    const client = clientOf(server.url);
    let isDown = true;
    const outbox = openOutbox({
      path: join(folder, "signals.outbox"),
      alerts,
      retry: QUICK,
      client: {
        ingest: (...args) => (isDown ? unreachable : client).ingest(...args),
        ingestBatch: (...args) => (isDown ? unreachable : client).ingestBatch(...args),
      },
    });
    const taken: string[] = [];
    const signal = { ...SIGNAL, comment: "x".repeat(400) };
    let failure: unknown;
    while (failure === undefined) {
      const idempotencyKey = `key-${taken.length}`;
      await outbox.enqueue(signal, { idempotencyKey }).then(
        () => taken.push(idempotencyKey),
        (error) => {
          failure = error;
        },
      );
    }
    expect(taken.length).toBeGreaterThan(50);
    expect(failure).toMatchObject({
      reason: "OUTBOX_STORAGE",
      message: expect.stringContaining("the disk is full"),
    });
    expect(alerts.kinds).toEqual(["outbox_damaged"]);

    isDown = false;
    expect(await outbox.flush(20_000)).toBe(true);
    expect([...new Set(sentKeys(server.requests))]).toEqual(taken);
    await outbox.enqueue(signal, { idempotencyKey: "again" });
    expect(await outbox.flush(10_000)).toBe(true);
    expect(sentKeys(server.requests).at(-1)).toBe("again");
  });
});

it("is readable by its owner only, and starts without a word", async () => {
  const path = outboxPath();
  const program = `
    import { createOutbox } from ${INDEX};
    const client = { ingest: async () => ({ outcome: "stored" }), ingestBatch: async () => [] };
    await using outbox = createOutbox({ path: ${JSON.stringify(path)}, client });
    await outbox.enqueue(${JSON.stringify(SIGNAL)});
    if (!(await outbox.flush(5_000))) process.exitCode = 9;`;
  const child = await runProgram(program);
  expect([child.code, child.stdout, child.stderr]).toEqual([0, "", ""]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(existsSync(`${path}.new`)).toBe(false);
});

it("is never silent about losses, though it was given no logger", async () => {
  const path = outboxPath();
  writeFileSync(path, "damaged");
  const program = `
    import { createOutbox } from ${INDEX};
    const client = { ingest: async () => ({ outcome: "stored" }), ingestBatch: async () => [] };
    await using outbox = createOutbox({ path: ${JSON.stringify(path)}, client });`;
  const child = await runProgram(program);
  expect([child.code, child.stdout]).toEqual([0, ""]);
  expect(JSON.parse(child.stderr)).toMatchObject({
    level: 50,
    outbox: path,
    kept: 0,
    set_aside: expect.stringContaining(".damaged-"),
  });
});

it("shares a registry with others, and leaves no lock when it cannot", async () => {
  const registry = new Registry();
  const one = openOutbox({ path: outboxPath(), registry });
  const other = openOutbox({ path: outboxPath(), registry });
  await Promise.all([one.enqueue(SIGNAL), other.enqueue(SIGNAL)]);
  expect(await registry.metrics()).toMatch(/^signals_outbox_depth 2$/m);
  await one.close();
  expect(await registry.metrics()).toMatch(/^signals_outbox_depth 1$/m);
  registry.clear();
  openOutbox({ path: outboxPath(), registry });
  expect(await registry.metrics()).toMatch(/^signals_outbox_depth 0$/m);
  for (const name of ["signals_outbox_bytes", "signals_outbox_dead_lettered_total"]) {
    for (const Metric of [Counter, Gauge]) {
      const path = outboxPath();
      const taken = new Registry();
      new Metric({ name, help: "of somebody else", registers: [taken] });
      expect(() => openOutbox({ path, registry: taken })).toThrow(name);
      openOutbox({ path });
    }
  }
});

it("is idle as soon as nothing is to be delivered", async () => {
  const states: string[] = [];
  const alerts = new RecordingAlerts();
  alerts.sendSignalDeliveryError = async () => void states.push(outbox.status().state);
  const refuse = () => Promise.reject(new SignalError("INVALID_SIGNAL", "for a test"));
  const client = { ...unreachable, ingest: refuse };
  const outbox = openOutbox({ path: outboxPath(), client, alerts });
  await outbox.enqueue(SIGNAL);
  expect(await outbox.flush(5_000)).toBe(true);
  expect(states).toEqual(["idle"]);
});

it("ends a long wait in time for a signal that expires", async () => {
  let isDown = true;
  const answer = async () => {
    if (isDown) throw new SignalError("STORE_UNAVAILABLE", "for a test");
    return { outcome: "stored" } as never;
  };
  const outbox = openOutbox({
    path: outboxPath(),
    client: { ingest: answer, ingestBatch: (items) => Promise.all(items.map(answer)) },
    retry: { baseDelayMs: 60_000, delayMaxMs: 60_000 },
  });
  await outbox.enqueue(SIGNAL);
  await vi.waitFor(() => expect(outbox.status().state).toBe("waiting"));
  isDown = false;
  const signals = [30_000, 10_000, 20_000].map((lifetimeMs) => {
    return { ...SIGNAL, expireTime: new Date(Date.now() + lifetimeMs) };
  });
  await Promise.all(signals.map((signal) => outbox.enqueue(signal)));
  expect(await outbox.flush(9_000)).toBe(true);
  expect(outbox.status()).toMatchObject({ state: "idle", deadLetters: 0 });
}, 20_000);

it("goes on with dead letters that another program gave back", async () => {
  const path = outboxPath();
  const sent: (string | undefined)[] = [];
  let isRefusing = true;
  const outbox = openOutbox({
    path,
    client: {
      ...unreachable,
      ingest: async (_, options) => {
        if (isRefusing) throw new SignalError("INSTRUMENT_NOT_ALLOWED", "for a test");
        sent.push(options?.idempotencyKey);
        return { outcome: "stored" } as never;
      },
    },
  });
  await outbox.enqueue(SIGNAL, { idempotencyKey: "key" });
  await outbox.flush(5_000);
  expect(outbox.status()).toMatchObject({ pending: 0, deadLetters: 1 });
  expect(await outbox.enqueue(SIGNAL, { idempotencyKey: "key" })).toMatchObject({
    state: "dead_letter",
  });
  isRefusing = false;
  const file = new OutboxFile(path);
  file.check();
  expect(file.retry("all", Date.now())).toEqual(["key"]);
  file.close();
  await vi.waitFor(() => expect(sent).toEqual(["key"]), 10_000);
  await vi.waitFor(() => expect(outbox.status()).toMatchObject({ pending: 0, deadLetters: 0 }));
});

it("takes no more out of the file at once than fits into one request", async () => {
  const path = outboxPath();
  const outbox = openOutbox({ path });
  const big = { ...SIGNAL, payload: { text: "x".repeat(10_000) } };
  await Promise.all(Array.from({ length: 20 }, () => outbox.enqueue(big)));
  await outbox.close();
  const file = new OutboxFile(path);
  onTestFinished(() => file.close());
  expect(file.pending([], 1_000, 55_000)).toHaveLength(5);
  expect(file.pending([], 1_000, 1)).toHaveLength(1);
  expect(file.pending([], 3, 1_000_000)).toHaveLength(3);
  expect(file.pending([1, 2], 1, 1_000_000)[0]?.sequence).toBe(3);
});

it("loads SQLite only when an outbox is opened, and names the Node.js that it needs", async () => {
  const path = join(dirname(outboxPath()), "none", "signals.outbox");
  const program = `
    Object.defineProperty(process.versions, "node", { value: "22.21.1" });
    const { createOutbox } = await import(${INDEX});
    console.log(process.moduleLoadList.some((name) => name.endsWith(" sqlite")));
    const client = { ingest: async () => ({}), ingestBatch: async () => [] };
    try {
      createOutbox({ path: ${JSON.stringify(path)}, client });
    } catch ({ message }) {
      console.log(message);
    }`;
  const child = await runProgram(program);
  expect(child.stdout.split("\n")).toEqual([
    "false",
    "[OUTBOX_UNSUPPORTED] The outbox needs Node.js 24.16 or newer for its SQLite file, and this is Node.js 22.21.1. Run the bot on a newer Node.js, or send with the client alone.",
    "",
  ]);
  expect(existsSync(dirname(path))).toBe(false);
});

it("names the file in full to people, since who reads it is elsewhere", () => {
  const alerts = new RecordingAlerts();
  const options = { path: "a.outbox", logger: silent, alerts, destination: undefined };
  const error = new SignalError("INTERNAL", "for a test");
  new OutboxNotices(options).died(
    { entry: { idempotencyKey: "key-1" }, signal: SIGNAL } as OutboxItem,
    { reason: "INTERNAL", message: "x", violations: [], diedMs: 0 },
    error,
  );
  expect(alerts.sent[0]?.text).toContain(`retry --file ${resolve("a.outbox")} key-1`);
});
