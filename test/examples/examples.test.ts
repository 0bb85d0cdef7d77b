/**
 * Each example is run as a bot author runs it, against a real server, and its signal is
 * looked up in PostgreSQL.
 */
import { chmod, mkdtempDisposable, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoredSignal } from "../../src/store/index.ts";
import { hasTool, type Outcome, run, skipVisibly, TOOL_PATH } from "../interop/support/command.ts";
import { type Interop, startInterop } from "../interop/support/server.ts";
import { listen } from "../support/listen.ts";
import { spawnServer, TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";

interface Example {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The programs that it needs. */
  readonly tools: readonly string[];
}

function exampleFile(name: string): string {
  return fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
}

const TYPESCRIPT: Example = {
  name: "producer.ts",
  command: process.execPath,
  args: [exampleFile("producer.ts")],
  tools: [],
};
const PYTHON: Example = {
  name: "producer.py",
  command: "python3",
  args: [exampleFile("producer.py")],
  tools: ["python3"],
};
const PYTHON_REST: Example = {
  ...PYTHON,
  name: "producer.py --rest",
  args: [...PYTHON.args, "--rest"],
};
const SHELL: Example = {
  name: "producer.sh",
  command: "sh",
  args: [exampleFile("producer.sh")],
  tools: ["curl", "openssl"],
};
const BUF_CURL: Example = {
  name: "buf-curl.sh",
  command: "sh",
  args: [exampleFile("buf-curl.sh")],
  tools: ["buf", "openssl"],
};

function available(...examples: Example[]): Example[] {
  return examples.filter(({ tools }) => tools.every(hasTool));
}

skipVisibly(["python3", "curl", "openssl", "buf"], "not every example was run");

let interop: Interop;
beforeAll(async () => {
  interop = await startInterop();
});
afterAll(() => interop[Symbol.asyncDispose]());

function runExample(
  { command, args }: Example,
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  return run(command, args, {
    env: {
      PRODUCER_ID: TEST_PRODUCER_ID,
      HMAC_PRODUCER_SECRET: TEST_SECRET,
      OUTBOUND_SERVER_URL: interop.url,
      ...env,
    },
  });
}

/** The signals that were stored while some work was done. */
async function storedBy(work: () => Promise<void>): Promise<StoredSignal[]> {
  const [last] = (await interop.all()).slice(-1);
  await work();
  return interop.store.listSignals({ afterSequence: last?.sequence ?? 0n, limit: 100 });
}

/** What each example sends, whatever its language. */
const SIGNAL = {
  instrument: "GOLD",
  side: "buy",
  entryPrice: 2650.5,
  stopLoss: 2640,
  takeProfit: 2680.25,
  confidence: 0.87,
  riskPercent: 1.5,
  strategyName: "breakout-h1",
  reason: "Close above the range",
  comment: "",
  signalTime: expect.any(BigInt),
  expireTime: undefined,
  payload: { timeframe: "H1", indicators: { rsi: 61.5 } },
};

function isRecent({ signal, receiveTime }: StoredSignal): boolean {
  // An example that cuts its time to the second may be up to one behind.
  const age = receiveTime - signal.signalTime;
  return age > -1_000_000_000n && age < 30_000_000_000n;
}

describe.each(available(TYPESCRIPT, PYTHON, PYTHON_REST, SHELL, BUF_CURL))("$name", (example) => {
  it("stores its signal once, equal in every field, and tells its id", async () => {
    let outcome: Outcome | undefined;

    const rows = await storedBy(async () => {
      outcome = await runExample(example);
    });

    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(rows).toHaveLength(1);
    const row = rows[0] as StoredSignal;
    expect(row).toMatchObject({ producerId: TEST_PRODUCER_ID, status: "received", signal: SIGNAL });
    expect(row.idempotencyKey).toMatch(/^[0-9a-f-]{32,36}$/);
    expect(isRecent(row)).toBe(true);
    expect(outcome?.stdout).toContain(row.signalId);
  });

  it("says clearly that a wrong secret is refused, without repeating it", async () => {
    const secret = "not-the-secret-of-this-bot";
    let outcome: Outcome | undefined;

    const rows = await storedBy(async () => {
      outcome = await runExample(example, { HMAC_PRODUCER_SECRET: secret });
    });

    expect(rows).toEqual([]);
    expect(outcome?.code).not.toBe(0);
    expect(outcome?.stderr).toMatch(/not signed by a known producer/);
    expect(`${outcome?.stdout}${outcome?.stderr}`).not.toContain(secret);
  });

  it("names the variable that is not set", async () => {
    const outcome = await runExample(example, { OUTBOUND_SERVER_URL: "" });

    expect(outcome.code).not.toBe(0);
    expect(outcome.stderr).toContain("OUTBOUND_SERVER_URL");
  });
});

it.runIf(available(BUF_CURL).length > 0)(
  "buf-curl.sh shows that Connect knows the signal of gRPC again",
  async () => {
    const { stdout } = await runExample(BUF_CURL);

    const [, overGrpc = "", overConnect = ""] = stdout.split(/^(?:gRPC|Connect):$/m);
    expect(JSON.parse(overConnect)).toEqual({
      ...JSON.parse(overGrpc),
      duplicate: true,
      message: expect.any(String),
    });
  },
);

it.runIf(available(SHELL).length > 0)(
  "producer.sh gives the secret to no program as an argument, where others could read it",
  async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "countersign-examples-"));
    const log = join(folder.path, "log");
    // In front of each program stands one that notes how it was called.
    for (const program of ["openssl", "curl", "od", "wc", "head", "cat", "printf"]) {
      const text = `#!/bin/sh\nprintf '%s\\n' "$0 $*" >> "${log}"\nPATH=\${PATH#*:} exec ${program} "$@"\n`;
      await writeFile(join(folder.path, program), text, { mode: 0o755 });
    }

    const outcome = await runExample(SHELL, { PATH: `${folder.path}:${TOOL_PATH}` });

    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    const calls = await readFile(log, "utf8");
    expect(calls).toMatch(/openssl dgst -sha256 -binary/);
    expect(calls).toMatch(/curl .*--data-binary/);
    expect(calls).not.toContain(TEST_SECRET);
    expect(calls).not.toContain(Buffer.from(TEST_SECRET).toString("hex"));
    // Not in the form in which the key is mixed into the hash, either.
    expect(calls).not.toMatch(/\\0\d{3}/);
  },
);

it("works with the credentials that a server writes at its first start", async () => {
  const dataDir = await mkdtempDisposable(join(tmpdir(), "countersign-examples-"));
  // As root, PostgreSQL runs under another account, which has to get in.
  await chmod(dataDir.path, 0o711);
  const server = await spawnServer({ PORT: "0", OPS_PORT: "0", DATA_DIR: dataDir.path });
  try {
    const envFile = join(dataDir.path, "producer.env");
    const byNode = await run(process.execPath, [`--env-file=${envFile}`, ...TYPESCRIPT.args]);
    expect(byNode).toMatchObject({ code: 0, stderr: "" });
    expect(byNode.stdout).toMatch(/^stored [0-9a-f-]{36} received$/m);

    for (const { command, args } of available(PYTHON, SHELL)) {
      const script = 'set -a; . "$0"; set +a; exec "$@"';
      const byShell = await run("sh", ["-c", script, envFile, command, ...args]);
      expect(byShell).toMatchObject({ code: 0, stderr: "" });
    }
  } finally {
    await server.stop();
    await dataDir.remove();
  }
});

/** An HTTP proxy that hands all it gets to the server as it is, and counts its connections. */
async function startHttpProxy(target: string) {
  const { port } = new URL(target);
  let connections = 0;
  const { url, ...listening } = await listen(
    createTcpServer((socket) => {
      connections += 1;
      const onward = connect(Number(port), "127.0.0.1");
      for (const end of [socket, onward]) end.on("error", () => end.destroy());
      socket
        .on("close", () => onward.destroy())
        .pipe(onward)
        .pipe(socket);
    }),
  );
  return {
    ...listening,
    connections: () => connections,
    /** What sends programs to a proxy, in all its spellings. */
    env: { http_proxy: url, HTTP_PROXY: url, https_proxy: url, ALL_PROXY: url, all_proxy: url },
  };
}

describe.each(available(PYTHON, PYTHON_REST, SHELL))("$name with a proxy set", (example) => {
  it.each(["127.0.0.1", "localhost", "LocalHost"])("goes to %s without it", async (host) => {
    await using proxy = await startHttpProxy(interop.url);
    const url = new URL(interop.url);

    const outcome = await runExample(example, {
      ...proxy.env,
      OUTBOUND_SERVER_URL: `http://${host}:${url.port}/`,
    });

    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(proxy.connections()).toBe(0);
  });

  it.each(["signals.example.com", "localhost.example.com", "127.0.0.1.example.com"])(
    "goes to %s through it",
    async (host) => {
      await using proxy = await startHttpProxy(interop.url);

      const outcome = await runExample(example, {
        ...proxy.env,
        OUTBOUND_SERVER_URL: `http://${host}:8080`,
      });

      expect(outcome).toMatchObject({ code: 0, stderr: "" });
      expect(proxy.connections()).toBe(1);
    },
  );

  it("goes past it where no_proxy says so", async () => {
    await using proxy = await startHttpProxy(interop.url);

    const outcome = await runExample(example, {
      ...proxy.env,
      no_proxy: "signals.invalid",
      OUTBOUND_SERVER_URL: "http://signals.invalid:8080",
    });

    expect(outcome.code).toBe(1);
    expect(proxy.connections()).toBe(0);
  });
});

/** What the proxy saw. */
interface Attempt {
  readonly body: string;
  readonly signature: string;
}

type Fault = "503" | "504" | "reset" | "lost answer" | "503 for an hour" | "cut 503" | "no id";

/** Stands before the server, and fails the first requests in a way of its own each. */
async function startFaultyProxy(target: string, faults: readonly Fault[]) {
  const attempts: Attempt[] = [];
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const fault = faults[attempts.length];
    const signature = String(request.headers["x-signature"]);
    attempts.push({ body: body.toString("latin1"), signature });
    if (fault === "503" || fault === "504") {
      response.writeHead(Number(fault)).end();
      return;
    }
    if (fault === "503 for an hour") {
      response.writeHead(503, { "retry-after": "3600" }).end();
      return;
    }
    if (fault === "cut 503") {
      response.writeHead(503, { "content-length": "100" }).write("{");
      setTimeout(() => request.socket.resetAndDestroy(), 50);
      return;
    }
    if (fault === "no id") {
      response.end("{}");
      return;
    }
    if (fault === "reset") {
      request.socket.resetAndDestroy();
      return;
    }
    const headers = new Headers();
    for (const name of ["content-type", "x-producer-id", "x-timestamp", "x-signature"]) {
      headers.set(name, String(request.headers[name]));
    }
    const answer = await fetch(`${target}${request.url}`, { method: "POST", headers, body });
    if (fault === "lost answer") {
      request.socket.resetAndDestroy();
      return;
    }
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(await answer.bytes());
  });
  return { ...(await listen(server)), attempts };
}

// At once, since most of their time is the pause between two attempts.
describe.concurrent.each(available(TYPESCRIPT, PYTHON, PYTHON_REST, SHELL))("$name", (example) => {
  it.each([
    ["the server is busy and a connection breaks", ["503", "reset"], /^stored|"duplicate":false/],
    [
      "a proxy gives up and an answer is lost",
      ["504", "lost answer"],
      /^duplicate|"duplicate":true/,
    ],
  ] as const)("delivers once although %s", async (_, faults, firstWord) => {
    await using proxy = await startFaultyProxy(interop.url, faults);

    const outcome = await runExample(example, { OUTBOUND_SERVER_URL: proxy.url });

    expect(outcome.code, outcome.stderr).toBe(0);
    expect(outcome.stdout).toMatch(firstWord);
    expect(proxy.attempts).toHaveLength(3);
    // The same bytes in each attempt, and so the same key, with a signature of its own.
    expect(new Set(proxy.attempts.map(({ body }) => body)).size).toBe(1);
    expect(new Set(proxy.attempts.map(({ signature }) => signature)).size).toBe(3);
    const rows = (await interop.all()).filter(({ idempotencyKey = "none" }) =>
      proxy.attempts[0]?.body.includes(idempotencyKey),
    );
    expect(rows).toHaveLength(1);
    expect(outcome.stdout).toContain(rows[0]?.signalId);
  });

  it("does not try again what is refused", async () => {
    await using proxy = await startFaultyProxy(interop.url, []);

    await runExample(example, {
      OUTBOUND_SERVER_URL: proxy.url,
      HMAC_PRODUCER_SECRET: "not-the-secret-of-this-bot",
    });

    expect(proxy.attempts).toHaveLength(1);
  });
});

describe.concurrent.each(available(PYTHON, PYTHON_REST))("$name", (example) => {
  it("takes no answer for a success that names no signal, and reads no half error", async () => {
    await using proxy = await startFaultyProxy(interop.url, ["no id", "cut 503"]);

    const outcome = await runExample(example, { OUTBOUND_SERVER_URL: proxy.url });

    expect(outcome).toMatchObject({ code: 0, stdout: expect.stringMatching(/^stored /) });
    expect(outcome.stderr).not.toContain("Traceback");
    expect(proxy.attempts).toHaveLength(3);
  });

  it("waits for no server that asks for an hour, and says that nothing is known", async () => {
    await using proxy = await startFaultyProxy(interop.url, ["503 for an hour"]);

    const outcome = await runExample(example, { OUTBOUND_SERVER_URL: proxy.url });

    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/^The signal's fate is not known\. HTTP 503/);
    expect(proxy.attempts).toHaveLength(1);
  });
});
