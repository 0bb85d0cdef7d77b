/**
 * Holds what the pages tell in tables against what the code does: variables, options, metrics,
 * reasons, limits and paths.
 */
import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import type { AccessStore } from "../../src/access/index.ts";
import { ALERT_KINDS } from "../../src/alerts/index.ts";
import { alertOptionsFromEnv, clientOptionsFromEnv } from "../../src/client/config.ts";
import { createOutbox, createSignalClient } from "../../src/client/index.ts";
import { resolveClientOptions } from "../../src/client/options.ts";
import { resolveOutboxOptions } from "../../src/client/outbox/options.ts";
import { resolveRetryOptions } from "../../src/client/retry/retryOptions.ts";
import { adminEndpoints } from "../../src/server/adminEndpoints.ts";
import { SERVER_VARIABLES, serverConfigFromEnv } from "../../src/server/config/config.ts";
import { createRequestLog } from "../../src/server/http/requestLog.ts";
import {
  createMaintenanceMetrics,
  createServerMetrics,
  createWorkersMetrics,
  type MetricsSnapshot,
} from "../../src/server/ops/metrics.ts";
import { opsEndpoints } from "../../src/server/ops/opsPort.ts";
import { publicEndpoints } from "../../src/server/publicPort.ts";
import {
  BATCH_MAX_SIGNALS,
  BATCH_REQUEST_MAX_BYTES,
  DEFAULT_PAYLOAD_MAX_BYTES,
  PAYLOAD_VALUES_MAX,
  REASONS,
  refuse,
  SIGNAL_FIELD_LIST,
  SIGNAL_REQUEST_MAX_BYTES,
  validateSignal,
} from "../../src/signal/index.ts";
import { run } from "../cli/support/run.ts";
import { silent, unreachable } from "../client/outbox/support.ts";
import { silentLog } from "../support/postgres.ts";
import { TEST_PRODUCER_ID, TEST_SECRET } from "../support/server.ts";
import { validSignal } from "../support/signals.ts";
import { pageText, quoted, table, tables } from "./page.ts";

const api = pageText("docs/api.md");
const operations = pageText("docs/operations.md");
const producers = pageText("docs/producers.md");

const CLIENT = {
  serverUrl: "http://127.0.0.1",
  producerId: TEST_PRODUCER_ID,
  secret: TEST_SECRET,
};

/** A number as pages write it. */
function written(value: number): string {
  return value.toLocaleString("en-US");
}

describe("the variables", () => {
  const CLIENT_ENV = {
    PRODUCER_ID: "bot",
    HMAC_PRODUCER_SECRET: TEST_SECRET,
    OUTBOUND_SERVER_URL: CLIENT.serverUrl,
    HTTPS_PROXY: "http://proxy:3128",
  };
  const [ofClient = [], ofAlerts = []] = tables(producers, "variable");
  const helpPromise = run(["serve", "--help"]).then(({ stdout }) => serveVariables(stdout));

  /** The names, each with its default if that is a value, told one after the other. */
  function told(rows: readonly string[][]): [name: string, byDefault: string | undefined][] {
    return rows.flatMap(([names = "", defaults = ""]) => {
      const values = /^(`[^`]*`(, )?)+$/.test(defaults) ? quoted(defaults) : [];
      return quoted(names).map((name, index): [string, string | undefined] => [
        name,
        values[index],
      ]);
    });
  }

  /** As {@link told}, of the help of `serve`. */
  function serveVariables(help: string): [string, string | undefined][] {
    const section = help.split("\nEnvironment:\n")[1]?.split("\n\n")[0] ?? "";
    const rows = section.replaceAll(/\n {3,}/g, " ").split("\n");
    return rows.flatMap((row) => {
      const [, names = "", text = ""] = /^ {2}(\w+(?:, \w+)*) +(.*)$/.exec(row) ?? [];
      const byDefault = /\((\S+)\)$/.exec(text)?.[1];
      return names.split(", ").map((name): [string, string | undefined] => [name, byDefault]);
    });
  }

  it("of the server are those of operations.md and of its help, with their defaults", async () => {
    for (const variables of [told(table(operations, "variable")), await helpPromise]) {
      expect(variables.map(([name]) => name).sort()).toEqual([...SERVER_VARIABLES].sort());
      const defaults = variables.filter(([, byDefault]) => byDefault !== undefined);
      expect(defaults.length).toBeGreaterThan(8);
      for (const [name, byDefault] of defaults) {
        const config = serverConfigFromEnv({ [name]: byDefault });
        expect(config, name).toEqual(serverConfigFromEnv({}));
      }
    }
  });

  it("of the client are those of producers.md, with their defaults", () => {
    const variables = told(ofClient);
    expect(variables.map(([name]) => name)).toEqual(
      expect.arrayContaining([...Object.keys(CLIENT_ENV), "NO_PROXY"]),
    );
    for (const [name, byDefault] of variables.filter(([, value]) => value !== undefined)) {
      const options = clientOptionsFromEnv({ ...CLIENT_ENV, [name]: byDefault });
      expect(options, name).toEqual(clientOptionsFromEnv(CLIENT_ENV));
    }
  });

  it.each([
    ["operations.md", table(operations, "variable"), serverConfigFromEnv],
    ["producers.md", ofClient, (env: object) => clientOptionsFromEnv({ ...CLIENT_ENV, ...env })],
  ])("of %s take the range that is told, and no more", (_, rows, read) => {
    const ranges = rows.flatMap(([name = "", , text = ""]) => {
      const [, min, max] = /, (\d+) to (\d+)(?: bytes)?(?:$|:)/.exec(text) ?? [];
      return max === undefined ? [] : [[quoted(name)[0] ?? "", Number(min), Number(max)] as const];
    });
    expect(ranges.length).toBeGreaterThan(1);
    for (const [name, min, max] of ranges) {
      for (const value of [min, max]) expect(() => read({ [name]: `${value}` })).not.toThrow();
      for (const value of [min - 1, max + 1]) {
        expect(() => read({ [name]: `${value}` }), `${name}=${value}`).toThrow(name);
      }
    }
  });

  it("of the channels of alerts are those of producers.md", () => {
    const env = { TELEGRAM_BOT_TOKEN: "1:a", TELEGRAM_CHAT_ID: "1", ALERT_WEBHOOK_URL: "x" };
    const names = told(ofAlerts).map(([name]) => name);
    expect(names).toEqual(expect.arrayContaining([...Object.keys(env), "TELEGRAM_API_ROOT"]));
    for (const name of names.filter((each) => each !== "NODE_USE_ENV_PROXY")) {
      expect(() => alertOptionsFromEnv({ [name]: "no value" }), name).toThrow(name);
    }
  });
});

describe("the options of producers.md", () => {
  const client = resolveClientOptions(CLIENT);
  if (!client.enabled) throw new Error("The client is off.");
  const outbox = resolveOutboxOptions({ path: "signals.outbox", client: unreachable });
  const [ofClient = [], ofOutbox = []] = tables(producers, "option");

  it.each([
    ["option of `retry`", resolveRetryOptions({})],
    ["option of `circuitBreaker`", client.circuitBreaker],
  ])("have every %s with its default", (title, defaults) => {
    const told = table(producers, title).map((row) =>
      row.slice(0, 2).map((cell) => quoted(cell)[0]),
    );
    const withoutCommas = told.map(([name, value]) => [name, value?.replaceAll(",", "")]);
    expect(withoutCommas).toEqual(
      Object.entries(defaults).map(([name, value]) => [name, String(value)]),
    );
  });

  it.each([
    ["client", ofClient, client],
    ["outbox", ofOutbox, outbox],
  ])("have the defaults of the %s", (_, rows, defaults: object) => {
    const told = rows.flatMap(([name = "", value = ""]) => {
      const [text] = quoted(value);
      return text === undefined ? [] : [[quoted(name)[0] ?? "", text.replaceAll(",", "")] as const];
    });
    expect(told.length).toBeGreaterThan(4);
    for (const [name, value] of told) {
      expect(String(Reflect.get(defaults, name)), name).toBe(value);
    }
  });

  it("are all that the outbox has", () => {
    const names = ofOutbox.flatMap(([name = ""]) => quoted(name));
    // The clock is for tests.
    expect(new Set([...names, "clock"])).toEqual(
      new Set([...Object.keys(outbox), "logger", "registry", "alerts"]),
    );
  });
});

describe("the reasons", () => {
  it("may leave a signal stored only where api.md says so", () => {
    const silent = REASONS.filter((reason) => !refuse(reason, "x").message.includes("Not stored"));
    const text = /for each reason but ([^:]*):/.exec(api.replaceAll("\n", " "))?.[1] ?? "";
    expect(quoted(text).sort()).toEqual(silent.toSorted());
  });

  it("have every kind of alert in producers.md", () => {
    expect(table(producers, "kind").flatMap(([kind = ""]) => quoted(kind))).toEqual(
      Object.keys(ALERT_KINDS),
    );
  });
});

describe("the metrics", () => {
  it("of a bot are those of producers.md", async () => {
    const registry = new Registry();
    await using folder = await mkdtempDisposable(join(tmpdir(), "countersign-tables-"));
    const path = join(folder.path, "signals.outbox");
    await using client = createSignalClient({ ...CLIENT, registry });
    await using _ = createOutbox({ path, client, registry, logger: silent });
    const told = table(producers, "metric").map(([name = "", type]) => [quoted(name)[0], type]);
    const metrics = await registry.getMetricsAsJSON();
    expect(told).toEqual(metrics.map(({ name, type }) => [name, type]));
  });

  it("of a server are those of operations.md, with their labels", async () => {
    const server = createServerMetrics(() => 0);
    const requestId = "1";
    const caller = {
      address: "",
      connection: {},
      isProven: true,
      end() {},
      prove() {},
      takeFailure: () => undefined,
      endWithAnswer: async () => undefined,
    };
    const maintenance = createMaintenanceMetrics();
    for (const process of [server, maintenance]) {
      process.requestDone({ requestId, caller, protocol: "rest" }, 200, 1);
      process.authenticationFailed("wrong_signature");
    }
    const refusal = refuse("INTERNAL", "x");
    server.signalDone("bot", { kind: "refused", refusal, receiveTime: 0n });
    server.storeFailed(new Error("x"));
    server.watchQueue(() => 0);
    server.watchDatabase(() => ({ connections: 0, statements: 0 }));
    server.watchDatabaseProblems(() => new Set());
    server.watchLog({ destination: 0, unproven: 0 });
    const workers = createWorkersMetrics(() => 1, { destination: 0, unproven: 0 });
    maintenance.watchCertificate(() => 0);
    const snapshots = [server, workers, maintenance].map((each) => each.snapshot());
    const metrics = (await Promise.all(snapshots)).flat();

    const told = table(operations, "metric")
      .filter(([name = ""]) => name.startsWith("`countersign_"))
      .map(([name = "", type, labels = ""]) =>
        [quoted(name)[0], type, ...quoted(labels)].join(" "),
      );
    const registered = metrics
      .filter(({ name }) => name.startsWith("countersign_"))
      .map((metric) => [metric.name, metric.type, ...labelsOf(metric)].join(" "));
    expect(told.sort()).toEqual([...new Set(registered)].sort());
  });

  function labelsOf({ values }: MetricsSnapshot[number]): string[] {
    const names = new Set(values.flatMap(({ labels }) => Object.keys(labels)));
    // The bound of a bucket is a label of every histogram.
    names.delete("le");
    return [...names];
  }
});

describe("the limits of api.md", () => {
  it("of a request are the code's", () => {
    const text = api.replaceAll(/\s+/g, " ");
    const one = `${SIGNAL_REQUEST_MAX_BYTES / 1024} KiB`;
    const batch = `${BATCH_REQUEST_MAX_BYTES / 1024 ** 2} MiB`;
    expect(text).toContain(`takes one signal in at most ${one}`);
    expect(text).toContain(
      `1 to ${written(BATCH_MAX_SIGNALS)} such requests of at most ${one} each, in at most ${batch}`,
    );
    expect(text).toContain(`at most ${written(DEFAULT_PAYLOAD_MAX_BYTES)} bytes as compact`);
    expect(text).toContain(`at most ${written(PAYLOAD_VALUES_MAX)} values`);
  });

  const limits = { now: validSignal().signalTime, payloadMaxBytes: DEFAULT_PAYLOAD_MAX_BYTES };
  function isTaken(field: string, value: unknown): boolean {
    const { stopLoss: _, takeProfit: __, ...signal } = validSignal();
    return validateSignal({ ...signal, [field]: value }, limits).valid;
  }

  const [rows = []] = tables(api, "field");
  const longest = rows.flatMap(([names = "", , rule = ""]) => {
    const [, max] = /(?:at most|\d to) (\d+) characters/.exec(rule) ?? [];
    return max === undefined ? [] : quoted(names).map((name) => [name, Number(max)] as const);
  });
  const greatest = rows.flatMap(([names = "", , rule = ""]) => {
    const [, max] = /above 0, at most ([\de]+)|^0 to (1)$/.exec(rule)?.filter(Boolean) ?? [];
    return max === undefined ? [] : quoted(names).map((name) => [name, Number(max)] as const);
  });

  it("are read from its table", () => {
    const texts = SIGNAL_FIELD_LIST.filter(({ kind }) => kind === "text");
    expect(longest.map(([name]) => name)).toEqual(texts.map(({ name }) => name));
    expect(greatest.map(([name]) => name)).toEqual(["entry_price", "confidence", "risk_percent"]);
  });

  it.each(longest)("of %s is %d characters", (name, max) => {
    expect(isTaken(camelCase(name), "A".repeat(max))).toBe(true);
    expect(isTaken(camelCase(name), "A".repeat(max + 1))).toBe(false);
  });

  it.each(greatest)("of %s is %d", (name, max) => {
    expect(isTaken(camelCase(name), max)).toBe(true);
    expect(isTaken(camelCase(name), max * 1.001)).toBe(false);
  });

  function camelCase(name: string): string {
    return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  }
});

describe("the limits on strangers in operations.md", () => {
  const SERVER = new URL("../../src/server/", import.meta.url);
  const LIMITS: readonly (readonly [row: string, file: string, constant: string])[] = [
    ["connections", "http/connections.ts", "CONNECTIONS_MAX"],
    ["first bytes, a TLS handshake", "http/listener.ts", "FIRST_BYTES_TIMEOUT_MS"],
    ["idle connection", "http/http1Server.ts", "KEEP_ALIVE_TIMEOUT_MS"],
    ["requests at once on a connection", "http/http1Server.ts", "PIPELINED_MAX"],
    ["requests at once on a connection", "http/http2Server.ts", "CONCURRENT_STREAMS_MAX"],
    ["a stranger's requests on a connection", "http/allowance.ts", "CONNECTION_REQUESTS"],
    ["a stranger's streams reset or broken", "http/allowance.ts", "CONNECTION_RESETS"],
    ["the same of all strangers", "http/allowance.ts", "ADDRESS_REQUESTS"],
    ["the same of all strangers", "http/allowance.ts", "ADDRESS_RESETS"],
    ["the same of all strangers", "http/allowance.ts", "FEW_REQUESTS"],
    ["the same of all strangers", "http/allowance.ts", "FEW_RESETS"],
    ["the same of all strangers", "http/http2Server.ts", "SCARCE_STREAMS_MAX"],
    ["signatures and tokens that prove nothing", "http/allowance.ts", "ADDRESS_FAILURES"],
    ["requests under way", "http/router.ts", "UNPROVEN_REQUESTS_MAX"],
    ["memory for bodies", "publicPort.ts", "SINGLE_BODIES_MAX_BYTES"],
    ["memory for bodies", "publicPort.ts", "BATCH_BODIES_MAX_BYTES"],
    ["memory for answers", "http/unreadAnswers.ts", "UNREAD_MAX_BYTES"],
    ["a body", "http/body.ts", "PROGRESS_MIN_BYTES"],
    ["a body", "http/body.ts", "PROGRESS_INTERVAL_MS"],
    ["a body", "http/deadline.ts", "REQUEST_TIMEOUT_MS"],
    ["watches of the health service", "services/healthService.ts", "WATCHES_MAX"],
    ["watches of the health service", "services/healthService.ts", "WATCHES_PER_CONNECTION_MAX"],
  ];
  const rows = table(operations, "what");

  it("are held row by row", () => {
    const held = rows.filter(([what = ""]) => LIMITS.some(([row]) => what.startsWith(row)));
    expect(held).toEqual(rows);
  });

  it.each(LIMITS)("(%s) are those of %s, %s", async (row, file, constant) => {
    const source = await readFile(new URL(file, SERVER), "utf8");
    const [, value = ""] = new RegExp(`const ${constant}\\b[^=]*= ([^;]+);`).exec(source) ?? [];
    const numbers = value.replaceAll("_", "").match(/\d+/g)?.map(Number) ?? [];
    expect(numbers.length, constant).toBeGreaterThan(0);
    const cells = rows.find(([what = ""]) => what.startsWith(row))?.join(" ");
    const isProduct = value.includes("*");
    for (const number of isProduct ? numbers.slice(0, 1) : numbers) {
      const told = constant.endsWith("_MS") ? `${number / 1_000} s` : written(number);
      expect(cells).toMatch(new RegExp(`\\b${told}${isProduct ? " MiB" : "\\b"}`));
    }
  });
});

describe("the paths", () => {
  const never = () => Promise.reject(new Error("Nothing is asked."));
  const options = {
    monotonicMs: () => 0,
    version: "0.0.0",
    isReady: never,
    metricsText: never,
    services: new Map(),
    authenticate: never,
    ingest: never,
    shutdownSignal: new AbortController().signal,
    requestLog: createRequestLog({
      log: silentLog,
      monotonicMs: () => 0,
    }),
  };
  const onPublicPort = publicEndpoints(options);
  const onOpsPort = opsEndpoints(options);

  const toAdminister = adminEndpoints({
    ...options,
    authenticateToken: never as never,
    store: {} as AccessStore,
    sealing: { seal: () => undefined, keyId: () => undefined, refresh: never },
    onChanged: never,
    onRefusedAttempt: never,
    now: () => 0n,
  });

  const PAGES = [
    ["api.md", api, new Map([...onPublicPort, ...toAdminister])],
    ["operations.md", operations, onOpsPort],
  ] as const;

  it.each(PAGES)("that %s tells of are served by this method", (_, page, endpoints) => {
    const told = [...page.matchAll(/`(?:(GET|POST) )?(\/(?:api|errors|metrics|signals)[\w./]*)`/g)];
    expect(told.length).toBeGreaterThan(3);
    for (const [, method, path = ""] of told) {
      const served = endpoints.get(path)?.method;
      expect(served, path).toBe(method ?? served ?? "served");
    }
  });

  it.each(PAGES)("that are served are all in %s, or their methods", (_, page, endpoints) => {
    for (const path of endpoints.keys()) {
      const [, service, method = path] = /^\/([\w.]+)\/([A-Z]\w+)$/.exec(path) ?? [];
      // Health is a standard of gRPC, with pages of its own.
      if (service === "grpc.health.v1.Health") continue;
      const names = [`\`${method}\``, `\`GET ${method}\``, `\`POST ${method}\``];
      expect(
        names.some((name) => page.includes(name)),
        path,
      ).toBe(true);
    }
  });
});
