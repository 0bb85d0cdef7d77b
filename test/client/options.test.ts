import { describe, expect, it } from "vitest";
import {
  ConfigError,
  createSignalClient,
  type SignalClientOptions,
  systemClock,
} from "../../src/client/index.ts";
import { resolveClientOptions } from "../../src/client/options.ts";
import { PRODUCER_ID, SECRET } from "./support/ingestServer.ts";
import { problemsOf } from "./support/problems.ts";

const complete: SignalClientOptions = {
  serverUrl: "https://signals.example.com",
  producerId: PRODUCER_ID,
  secret: SECRET,
};

const wrongOf = (options: object) =>
  problemsOf(() => resolveClientOptions(options as SignalClientOptions));

it("takes the machine's clock, and the HTTP that the protocol needs, unless told otherwise", () => {
  expect(resolveClientOptions(complete)).toMatchObject({ clock: systemClock, httpVersion: "1.1" });
  expect(resolveClientOptions({ ...complete, protocol: "grpc" })).toMatchObject({
    httpVersion: "2",
  });
});

it("names every wrong option at once, and no value", () => {
  const wrong = {
    serverUrl: "http://user:hunter2hunter2@signals.example.com",
    producerId: "-bot",
    secret: "too-short",
    enabled: "yes",
    protocol: "smtp",
    codec: "xml",
    httpVersion: "3",
    timeoutMs: 0,
    maxBodyBytes: 1,
    tlsCa: 7,
    clock: {},
    retry: 3,
    circuitBreaker: "on",
    logger: { info() {} },
    registry: {},
    alerts: {},
    timeout: 30,
  };
  expect(wrongOf(wrong).sort()).toEqual(Object.keys(wrong).sort());
  expect(() => createSignalClient(wrong as unknown as SignalClientOptions)).toThrow(ConfigError);
  try {
    createSignalClient(wrong as unknown as SignalClientOptions);
  } catch (error) {
    expect(String(error)).not.toMatch(/too-short|hunter2|-bot/);
  }
});

it("names the wrong options of a group by the group", () => {
  const wrong = { retry: { factor: 0, tries: 3 }, circuitBreaker: { failuresMax: 0 } };
  expect(wrongOf({ ...complete, ...wrong }).sort()).toEqual([
    "circuitBreaker.failuresMax",
    "retry.factor",
    "retry.tries",
  ]);
  expect(wrongOf({ ...complete, retry: false, circuitBreaker: false })).toEqual([]);
});

it.each([
  ["retry.retriesMax", 0, 1_000, 1],
  ["retry.baseDelayMs", 1, 3_600_000, 1],
  ["retry.factor", 1, 10, 0.1],
  ["retry.delayMaxMs", 1, 3_600_000, 1],
  ["retry.jitter", 0, 1, 0.1],
  ["retry.budgetMs", 1, 86_400_000, 1],
  ["circuitBreaker.failuresMax", 1, 1_000, 1],
  ["circuitBreaker.halfOpenAfterMs", 1, 3_600_000, 1],
])("holds %s to its range", (path, min, max, step) => {
  const [group = "", name = ""] = path.split(".");
  const judged = (value: unknown) => wrongOf({ ...complete, [group]: { [name]: value } });
  for (const value of [min, max, undefined]) expect(judged(value)).toEqual([]);
  const wrong = [min - step, max + step, Number.NaN, Number.POSITIVE_INFINITY, String(min), null];
  for (const value of wrong) expect(judged(value)).toEqual([path]);
});

it("names every option that is missing, also if there are none at all", () => {
  for (const nothing of [{}, undefined, null, "https://signals.example.com"]) {
    expect(wrongOf(nothing as object)).toEqual(["serverUrl", "producerId", "secret"]);
  }
});

describe("the server's URL", () => {
  it.each([
    "https://signals.example.com",
    "https://signals.example.com:8443/trading/",
    "https://192.0.2.7",
    "http://localhost:8080",
    "http://LOCALHOST:8080",
    "http://127.0.0.1",
    "http://127.255.255.254:1",
    "http://127.1",
    "http://[::1]:8080",
    "http://[0:0:0:0:0:0:0:1]",
    "https:signals.example.com",
  ])("may be %s", (serverUrl) => {
    expect(wrongOf({ ...complete, serverUrl })).toEqual([]);
  });

  it.each(["localhost:8080", "signals.example.com:8443", "192.0.2.7", "nonsense", ""])(
    "without a scheme is told what is missing: %s",
    (serverUrl) => {
      const create = () => createSignalClient({ ...complete, serverUrl });
      expect(create).toThrow(
        "serverUrl must begin with https://, or with http:// to 127.0.0.0/8, [::1] and localhost only.",
      );
    },
  );

  it.each([
    "http://signals.example.com",
    "http://192.168.0.1",
    "http://10.0.0.1",
    "http://126.255.255.255",
    "http://128.0.0.1",
    "http://0.0.0.0",
    "http://[::]",
    "http://[::2]",
    "http://[::ffff:127.0.0.1]",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
    "http://notlocalhost",
    "http://127.0.0.1@signals.example.com",
    "https://user@signals.example.com",
    "https://:password@signals.example.com",
    "https://signals.example.com?",
    "https://signals.example.com/?key=1",
    "https://signals.example.com/#part",
    "ftp://signals.example.com",
    "ws://localhost",
    "/",
    undefined,
    7,
  ])("may not be %s", (serverUrl) => {
    expect(wrongOf({ ...complete, serverUrl })).toEqual(["serverUrl"]);
  });
});

it.each([
  ["timeoutMs", 1, 300_000],
  ["maxBodyBytes", 1_024, 65_536],
  ["payloadMaxBytes", 2, 65_536],
])("holds %s to its range", (name, min, max) => {
  for (const value of [min, max]) expect(wrongOf({ ...complete, [name]: value })).toEqual([]);
  for (const value of [min - 1, max + 1, min + 0.5, Number.NaN, String(min)]) {
    expect(wrongOf({ ...complete, [name]: value })).toEqual([name]);
  }
});

it("refuses options that cannot go together", () => {
  expect(wrongOf({ ...complete, protocol: "grpc", httpVersion: "1.1" })).toEqual(["httpVersion"]);
  expect(wrongOf({ ...complete, protocol: "grpc", codec: "json" })).toEqual(["codec"]);
  expect(wrongOf({ ...complete, protocol: "grpc-web", codec: "json" })).toEqual(["codec"]);
  expect(wrongOf({ ...complete, protocol: "connect", codec: "json" })).toEqual([]);
});

it("needs no other option of a client that is switched off, but takes no wrong one", () => {
  expect(wrongOf({ enabled: false })).toEqual([]);
  expect(wrongOf({ enabled: false, secret: "short" })).toEqual(["secret"]);
});

describe("a proxy that cannot be used", () => {
  const identity = { producerId: "bot", secret: "correct horse battery staple" };
  const far = { ...identity, serverUrl: "https://signals.example" };

  it.each(["bot:hunter2@proxy:3128", "proxy:3128", "socks5://bot:hunter2@proxy:1080", "nonsense"])(
    "is refused rather than passed by: %s",
    (HTTPS_PROXY) => {
      const make = () => resolveClientOptions({ ...far, proxyEnv: { HTTPS_PROXY } });
      expect(make).toThrow(
        "proxyEnv.HTTPS_PROXY must be an http or https URL, such as http://proxy:3128",
      );
      expect(make).not.toThrow("hunter2");
    },
  );

  it.each([
    [{ serverUrl: "https://127.0.0.1:8443" }, {}],
    [{ serverUrl: "http://localhost:8080" }, {}],
    [{ protocol: "grpc" as const }, {}],
    [{}, { NO_PROXY: "localhost,signals.example" }],
    [{}, { NO_PROXY: ".example" }],
    [{}, { no_proxy: "*" }],
  ])("does not matter where no call goes through it: %j %j", (options, exceptions) => {
    const proxyEnv = { HTTPS_PROXY: "socks5://proxy:1080", ...exceptions };
    expect(() => resolveClientOptions({ ...far, ...options, proxyEnv })).not.toThrow();
  });
});
