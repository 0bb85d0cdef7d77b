/** What becomes of a certificate's files when they change, and of a certificate when time passes. */
import { beforeAll, describe, expect, test } from "vitest";
import { readTls, type TlsContents } from "../../../src/server/config/tls.ts";
import { watchTls } from "../../../src/server/config/tlsWatch.ts";
import type { TlsMaterial } from "../../../src/server/http/tlsOptions.ts";
import { createLog } from "../../../src/server/ops/log.ts";
import { ManualTimers } from "../../ingest/manualTimers.ts";
import { ManualClock } from "../../ingest/memoryStore.ts";
import { recordLog } from "../../support/recordLog.ts";
import { makePair, type TestPair } from "../support/certificates.ts";
import { tlsFiles } from "../support/tlsFiles.ts";

const SECOND_MS = 1_000;
const DAY_MS = 86_400_000;
/** A change is in force, or told, at the latest then. */
const SOON_MS = 5 * SECOND_MS;
const START = new Date("2030-06-01T00:00:00Z");
const WARN = 40;
const ERROR = 50;

function daysAfterStart(days: number): Date {
  return new Date(START.getTime() + days * DAY_MS);
}

/** By the days from the start at which they begin and end to be valid. */
function pairOf(fromDays: number, untilDays: number): TestPair {
  return makePair({ from: daysAfterStart(fromDays), until: daysAfterStart(untilDays) });
}

let first: TestPair;
let second: TestPair;

beforeAll(() => {
  first = pairOf(-10, 80);
  second = pairOf(-1, 89);
});

function contentsOf({ cert, key }: TestPair): TlsContents {
  return { cert: { bytes: Buffer.from(cert) }, key: { bytes: Buffer.from(key) } };
}

/** A watch that was started with this pair, on files that a test replaces. */
async function start(pair: TestPair) {
  const { TLS_CERT_FILE, TLS_KEY_FILE } = await tlsFiles(pair);
  const files = { certFile: TLS_CERT_FILE, keyFile: TLS_KEY_FILE };
  const clock = new ManualClock(BigInt(START.getTime()) * 1_000_000n);
  const timers = new ManualTimers(clock);
  const log = recordLog();
  const applied: string[] = [];
  const state = { contents: contentsOf(pair), reads: 0, hanging: Promise.resolve() };
  const watch = watchTls({
    files,
    pair: await readTls(files),
    async read() {
      state.reads += 1;
      await state.hanging;
      return state.contents;
    },
    apply: ({ cert }: TlsMaterial) => applied.push(cert.toString()),
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    timers,
    log: createLog({ logLevel: "info", hostname: "test" }, log.stream),
  });
  return {
    files,
    watch,
    timers,
    applied,
    state,
    lines: log.lines,
    put(contents: TlsContents) {
      state.contents = contents;
    },
    /** What was told since the last time that this was asked. */
    told: () => log.lines.splice(0),
    pass: (durationMs: number) => timers.advanceMs(durationMs),
  };
}

const IN_FORCE = { level: 30, msg: "TLS certificate is in force" };
const REFUSED = {
  level: ERROR,
  msg: "the new TLS certificate is not taken: the earlier one stays in force",
};

describe("files that change", () => {
  test("are in force within seconds, and it is told which certificate that is", async () => {
    const { put, pass, applied, told, watch } = await start(first);
    expect(told()).toEqual([
      expect.objectContaining({
        ...IN_FORCE,
        names: "DNS:localhost, IP Address:127.0.0.1",
        valid_to: "2030-08-20T00:00:00.000Z",
      }),
    ]);
    expect(watch.expiryMs).toBe(daysAfterStart(80).getTime());
    put(contentsOf(second));
    await pass(SOON_MS);
    expect(applied).toEqual([second.cert]);
    expect(told()).toEqual([
      expect.objectContaining({ ...IN_FORCE, valid_to: "2030-08-29T00:00:00.000Z" }),
    ]);
    expect(watch.expiryMs).toBe(daysAfterStart(89).getTime());
    await pass(DAY_MS / 24);
    expect(applied).toHaveLength(1);
    expect(told()).toEqual([]);
  });

  // Whenever the look at them falls.
  test.each([0, 500, 1_000, 1_500, 2_000, 2_500])(
    "one half a second after the other are no fault, %d ms after a look",
    async (afterLookMs) => {
      const { put, pass, applied, told } = await start(first);
      told();
      await pass(afterLookMs);
      put({ ...contentsOf(first), cert: contentsOf(second).cert });
      await pass(500);
      put(contentsOf(second));
      await pass(SOON_MS);
      expect(applied).toEqual([second.cert]);
      expect(told()).toEqual([expect.objectContaining(IN_FORCE)]);
    },
  );

  test("that belong to different pairs leave the earlier in force, which is told once", async () => {
    const { files, put, pass, applied, told } = await start(first);
    told();
    put({ ...contentsOf(first), cert: contentsOf(second).cert });
    await pass(SOON_MS);
    expect(told()).toEqual([
      expect.objectContaining({
        ...REFUSED,
        faults: [
          `TLS_KEY_FILE ${files.keyFile} is not the key of the certificate in TLS_CERT_FILE ${files.certFile}. Set the two that were made together`,
        ],
        in_force: expect.objectContaining({ valid_to: "2030-08-20T00:00:00.000Z" }),
      }),
    ]);
    await pass(DAY_MS / 24);
    expect(told()).toEqual([]);
    put(contentsOf(second));
    await pass(SOON_MS);
    expect(applied).toEqual([second.cert]);
    expect(told()).toEqual([expect.objectContaining(IN_FORCE)]);
  });

  test("that are wrong are told again when they change, and when all is well", async () => {
    const { files, put, pass, applied, told } = await start(first);
    told();
    const good = contentsOf(first);
    const wrong: [TlsContents, string][] = [
      [{ ...good, cert: { bytes: Buffer.from("") } }, `TLS_CERT_FILE ${files.certFile} is empty`],
      [
        { ...good, cert: { bytes: Buffer.from(second.cert.slice(0, 300)) } },
        `TLS_CERT_FILE ${files.certFile} holds a certificate that is damaged`,
      ],
      [
        { ...good, cert: { bytes: Buffer.from(second.cert.slice(0, 400)) } },
        `TLS_CERT_FILE ${files.certFile} holds a certificate that is damaged`,
      ],
      [
        { ...good, key: { fault: "cannot be read: there is no such file" } },
        `TLS_KEY_FILE ${files.keyFile} cannot be read: there is no such file`,
      ],
    ];
    for (const [contents, fault] of wrong) {
      put(contents);
      await pass(60 * SECOND_MS);
      expect(told()).toEqual([expect.objectContaining({ ...REFUSED, faults: [fault] })]);
    }
    put(good);
    await pass(60 * SECOND_MS);
    expect(told()).toEqual([expect.objectContaining(IN_FORCE)]);
    // The same certificate: there was nothing to change.
    expect(applied).toEqual([]);
  });

  test("are judged when they have been written to their end", async () => {
    const { put, pass, applied, told } = await start(first);
    told();
    for (let length = 100; length < second.cert.length; length += 100) {
      put({ ...contentsOf(second), cert: { bytes: Buffer.from(second.cert.slice(0, length)) } });
      await pass(SECOND_MS);
    }
    expect(told()).toEqual([]);
    put(contentsOf(second));
    await pass(SOON_MS);
    expect(applied).toEqual([second.cert]);
  });

  test("on a drive that hangs are told once, and read again when it answers", async () => {
    const { files, put, pass, applied, state, told } = await start(first);
    told();
    const hanging = Promise.withResolvers<void>();
    state.hanging = hanging.promise;
    await pass(120 * SECOND_MS);
    const fault = "cannot be read: there is no answer within 10 s";
    expect(told()).toEqual([
      expect.objectContaining({
        ...REFUSED,
        faults: [
          `TLS_CERT_FILE ${files.certFile} ${fault}`,
          `TLS_KEY_FILE ${files.keyFile} ${fault}`,
        ],
      }),
    ]);
    expect(state.reads).toBe(1);
    put(contentsOf(second));
    hanging.resolve();
    await pass(15 * SECOND_MS);
    expect(applied).toEqual([second.cert]);
    expect(told()).toEqual([expect.objectContaining(IN_FORCE)]);
  });
});

describe("a new certificate that is not valid now", () => {
  test("since it has expired is not taken while the earlier is valid", async () => {
    const { files, put, pass, applied, told } = await start(first);
    told();
    put(contentsOf(pairOf(-90, -1)));
    await pass(SOON_MS);
    expect(applied).toEqual([]);
    expect(told()).toEqual([
      expect.objectContaining({
        ...REFUSED,
        faults: [
          `TLS_CERT_FILE ${files.certFile} holds a certificate that is valid from 2030-03-03T00:00:00.000Z to 2030-05-31T00:00:00.000Z only`,
        ],
      }),
    ]);
  });

  test("since its time is to come is taken when that comes", async () => {
    const { put, pass, applied, told } = await start(first);
    told();
    const next = pairOf(2, 92);
    put(contentsOf(next));
    await pass(2 * DAY_MS - SOON_MS);
    expect(applied).toEqual([]);
    expect(told()).toEqual([expect.objectContaining(REFUSED)]);
    await pass(2 * SOON_MS);
    expect(applied).toEqual([next.cert]);
    expect(told()).toEqual([expect.objectContaining(IN_FORCE)]);
  });

  test("is taken if the earlier is not valid either", async () => {
    const { put, pass, applied } = await start(pairOf(-90, -5));
    const next = pairOf(-80, -1);
    put(contentsOf(next));
    await pass(SOON_MS);
    expect(applied).toEqual([next.cert]);
  });
});

describe("a certificate near its end", () => {
  const ENDING = {
    level: WARN,
    msg: "the TLS certificate expires soon, and there is no newer one",
  };
  const EXPIRED = { level: ERROR, msg: "the TLS certificate has expired: clients refuse it" };

  test("is told of from 14 days before, once a day, and at its end", async () => {
    const { files, pass, told } = await start(pairOf(-76, 14 + 1));
    expect(told()).toEqual([expect.objectContaining(IN_FORCE)]);
    await pass(DAY_MS - SOON_MS);
    expect(told()).toEqual([]);
    for (let daysLeft = 13; daysLeft >= 0; daysLeft--) {
      await pass(DAY_MS);
      expect(told()).toEqual([
        expect.objectContaining({
          ...ENDING,
          TLS_CERT_FILE: files.certFile,
          days_left: daysLeft,
          valid_to: "2030-06-16T00:00:00.000Z",
        }),
      ]);
    }
    await pass(2 * SOON_MS);
    expect(told()).toMatchObject([EXPIRED]);
    await pass(DAY_MS);
    expect(told()).toEqual([expect.objectContaining({ ...EXPIRED, days_left: -1 })]);
  });

  test("is no longer told of when one that lasts is in force, at once of one that ends soon", async () => {
    const { put, pass, told } = await start(pairOf(-80, 5));
    expect(told()).toMatchObject([IN_FORCE, ENDING]);
    put(contentsOf(pairOf(-80, 6)));
    await pass(SOON_MS);
    expect(told()).toMatchObject([IN_FORCE, ENDING]);
    put(contentsOf(second));
    await pass(SOON_MS);
    expect(told()).toMatchObject([IN_FORCE]);
    await pass(3 * DAY_MS);
    expect(told()).toEqual([]);
  });

  test("is told of with what is wrong with the newer one", async () => {
    const { files, put, pass, told } = await start(pairOf(-80, 20));
    put({ ...contentsOf(second), cert: { bytes: Buffer.from("") } });
    await pass(SOON_MS);
    const faults = [`TLS_CERT_FILE ${files.certFile} is empty`];
    expect(told()).toMatchObject([IN_FORCE, { ...REFUSED, faults }]);
    await pass(6 * DAY_MS);
    expect(told()).toMatchObject([{ ...ENDING, faults }]);
    put(contentsOf(pairOf(-80, 13)));
    await pass(SOON_MS);
    const [, ending] = told();
    expect(ending).toMatchObject(ENDING);
    expect(ending).not.toHaveProperty("faults");
  });

  test("that is valid for days only is told of in its last quarter", async () => {
    const { pass, told } = await start(pairOf(0, 6));
    await pass(4.5 * DAY_MS);
    expect(told()).toMatchObject([IN_FORCE]);
    await pass(SOON_MS);
    expect(told()).toMatchObject([ENDING]);
  });

  test("or beyond it, or before its time, is told of at the start, which it does not stop", async () => {
    expect((await start(pairOf(-80, -1))).told()).toMatchObject([IN_FORCE, EXPIRED]);
    const early = { level: ERROR, msg: "the TLS certificate is not valid yet: clients refuse it" };
    expect((await start(pairOf(1, 90))).told()).toMatchObject([IN_FORCE, early]);
  });
});

test("what is closed looks no more, whatever it was at", async () => {
  const { watch, timers, state, pass } = await start(first);
  await pass(SOON_MS);
  watch.close();
  expect(timers.waitingCount).toBe(0);
  const hung = await start(first);
  hung.state.hanging = new Promise(() => undefined);
  await hung.pass(SOON_MS);
  hung.watch.close();
  expect(hung.timers.waitingCount).toBe(0);
  const readsBefore = state.reads;
  await pass(DAY_MS / 24);
  expect(state.reads).toBe(readsBefore);
});
