/**
 * How the directory looks, by a clock of its own; what real servers make of it is in
 * accessChanges.test.ts.
 */
import { beforeEach, describe, expect, test } from "vitest";
import type { AccessSnapshot, LoadedProducer, LoadedToken } from "../../../src/access/index.ts";
import {
  type AccessDirectory,
  openAccessDirectory,
} from "../../../src/server/auth/accessDirectory.ts";
import { Secret } from "../../../src/signing/index.ts";
import { ManualTimers, settled } from "../../ingest/manualTimers.ts";
import { ManualClock } from "../../ingest/memoryStore.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
/** Longer than a look waits at first. */
const SLOW_MS = 600;

/** A database whose answers take as long as a test likes, or never come. */
class SlowStore {
  snapshot: AccessSnapshot = snapshot();
  /** How long an answer takes; `undefined`: it never comes. */
  answerMs: number | undefined = 1;
  /** When each question was asked. */
  readonly versions: number[] = [];
  readonly loads: number[] = [];
  underWay = 0;
  mostUnderWay = 0;
  readonly #clock: ManualClock;
  readonly #timers: ManualTimers;

  constructor(clock: ManualClock, timers: ManualTimers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  version(timeoutMs: number): Promise<bigint> {
    this.versions.push(this.#clock.monotonicMs());
    return this.#answer(timeoutMs, this.snapshot.version);
  }

  load(timeoutMs: number): Promise<AccessSnapshot> {
    this.loads.push(this.#clock.monotonicMs());
    return this.#answer(timeoutMs, this.snapshot);
  }

  /** What was true when the question came, or a failure when the time is over. */
  #answer<Value>(timeoutMs: number, value: Value): Promise<Value> {
    const { answerMs = Number.POSITIVE_INFINITY } = this;
    this.underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    return new Promise((resolve, reject) => {
      this.#timers.after(Math.min(answerMs, timeoutMs), () => {
        this.underWay -= 1;
        if (answerMs <= timeoutMs) resolve(value);
        else reject(new Error("away"));
      });
    });
  }
}

let clock: ManualClock;
let timers: ManualTimers;
let store: SlowStore;
let lines: string[];
let failures: number;
/** The secrets that were opened, one after the other. */
let opened: string[];
let learnt: (Uint8Array | undefined)[];

beforeEach(() => {
  clock = new ManualClock(0n);
  timers = new ManualTimers(clock);
  store = new SlowStore(clock, timers);
  lines = [];
  failures = 0;
  opened = [];
  learnt = [];
});

async function open(random = 0.5): Promise<AccessDirectory> {
  const opening = openAccessDirectory({
    store,
    box: {
      async learnKey(keyId) {
        learnt.push(keyId);
      },
      open(sealed, producerId) {
        const text = `${Buffer.from(sealed)}`;
        opened.push(`${producerId} ${text}`);
        if (text.includes("broken")) throw new Error("It does not open");
        return Secret.fromString(text);
      },
    },
    requireApproval: false,
    timers,
    monotonicMs: () => clock.monotonicMs(),
    random: () => random,
    log: {
      error: (_: unknown, line: string) => void lines.push(line),
      info: (line: string) => void lines.push(line),
    } as never,
    onFailure: () => {
      failures += 1;
    },
  });
  opening.catch(() => undefined);
  await timers.advanceMs(store.answerMs ?? 10 * SECOND_MS);
  return opening;
}

function snapshot(changes: Partial<AccessSnapshot> = {}): AccessSnapshot {
  const none = { sealingKeyId: undefined, producers: [], tokens: [], nextExpiryMs: undefined };
  return { version: 1n, ...none, ...changes };
}

function producer(producerId: string, ...secrets: readonly string[]): LoadedProducer {
  return {
    producerId,
    enabled: true,
    requireApproval: false,
    allowedInstruments: undefined,
    rateLimitPerSecond: undefined,
    secrets: secrets.map((secretId) => ({
      secretId,
      sealed: Buffer.from(`the secret of ${secretId}`),
    })),
  };
}

/** Changes something, as a commit does. */
function change(changes: Partial<AccessSnapshot>): void {
  const { version } = store.snapshot;
  store.snapshot = { ...store.snapshot, version: version + 1n, ...changes };
}

/** How long it takes from now until it is so, in steps of 5 ms. */
async function untilMs(isSo: () => boolean, mostMs = MINUTE_MS): Promise<number> {
  const startMs = clock.monotonicMs();
  while (!isSo() && clock.monotonicMs() - startMs < mostMs) await timers.advanceMs(5);
  return clock.monotonicMs() - startMs;
}

describe("a change", () => {
  test.each([0, 0.5, 0.999])(
    "counts within 600 ms without any notification, jitter %d",
    async (random) => {
      const directory = await open(random);
      for (let id = 0; id < 20; id++) {
        await timers.advanceMs(37);
        change({ producers: [producer(`bot-${id}`)] });
        const tookMs = await untilMs(() => directory.findProducer(`bot-${id}`) !== undefined);
        expect(tookMs).toBeLessThan(600);
        expect(directory.findProducer(`bot-${id - 1}`)).toBeUndefined();
      }
      directory.close();
    },
  );

  test("counts at once after a notification, and many are one reason to look", async () => {
    const directory = await open();
    await untilMs(() => store.underWay > 0);
    await timers.advanceMs(10);
    const before = store.versions.length;
    change({ producers: [producer("bot")] });
    for (let i = 0; i < 100; i++) directory.wake();
    expect(await untilMs(() => directory.findProducer("bot") !== undefined)).toBeLessThan(50);
    expect(store.versions.length - before).toBe(1);
    directory.close();
  });

  test("whose notification comes during a look is seen by the next, soon", async () => {
    const directory = await open();
    store.answerMs = 20;
    await untilMs(() => store.underWay > 0);
    await timers.advanceMs(15);
    // The answer that is on its way does not know of it.
    change({ producers: [producer("bot")] });
    directory.wake();
    expect(await untilMs(() => directory.findProducer("bot") !== undefined)).toBeLessThan(100);
    directory.close();
  });

  test("of which the caller knows counts when the refresh is done, also beside another read", async () => {
    const directory = await open();
    store.answerMs = 100;
    change({ producers: [producer("first")] });
    await untilMs(() => store.loads.length > 1);
    change({ producers: [producer("second")] });
    const loads = store.loads.length;
    let isDone = false;
    const refreshes = Promise.all([directory.refresh(), directory.refresh()]).then(() => {
      isDone = true;
    });
    await untilMs(() => isDone);
    await refreshes;
    expect(directory.findProducer("second")).toBeDefined();
    expect(store.loads.length - loads).toBe(1);
    expect(store.mostUnderWay).toBe(1);
    directory.close();
  });

  test("is read again when a secret or token has ended, though nothing changed", async () => {
    store.snapshot = snapshot({ producers: [producer("bot", "old", "new")], nextExpiryMs: 5_000 });
    const directory = await open();
    store.snapshot = snapshot({ producers: [producer("bot", "new")] });
    await timers.advanceMs(4.9 * SECOND_MS);
    expect(directory.findProducer("bot")?.secrets).toHaveLength(2);
    await timers.advanceMs(0.7 * SECOND_MS);
    expect(directory.findProducer("bot")?.secrets).toHaveLength(1);
    directory.close();
  });

  test("that left the number as it was, as a failover may, counts within some 75 s", async () => {
    const directory = await open();
    const loads = store.loads.length;
    store.snapshot = { ...store.snapshot, producers: [producer("bot")] };
    await timers.advanceMs(30 * SECOND_MS);
    expect(directory.findProducer("bot")).toBeUndefined();
    await timers.advanceMs(46 * SECOND_MS);
    expect(directory.findProducer("bot")).toBeDefined();
    expect(store.loads.length - loads).toBeLessThanOrEqual(2);
    directory.close();
  });

  test("that sets the number back, as a restored backup does, counts", async () => {
    store.snapshot = snapshot({ version: 9n });
    const directory = await open();
    store.snapshot = snapshot({ version: 8n, producers: [producer("bot")] });
    await timers.advanceMs(600);
    expect(directory.findProducer("bot")).toBeDefined();
    directory.close();
  });
});

describe("a database", () => {
  test("that is asked for the first time must answer", async () => {
    store.answerMs = undefined;
    await expect(open()).rejects.toThrow("away");
  });

  test("that does not answer leaves all as it was for ten seconds, and then nobody is judged", async () => {
    store.snapshot = snapshot({ producers: [producer("bot")] });
    const directory = await open();
    store.answerMs = undefined;
    await timers.advanceMs(9.4 * SECOND_MS);
    expect(directory.isStale()).toBe(false);
    expect(lines).toEqual([]);
    await timers.advanceMs(2 * SECOND_MS);
    expect(directory.isStale()).toBe(true);
    await timers.advanceMs(MINUTE_MS);
    expect(directory.findProducer("bot")).toBeDefined();
    expect(lines).toEqual(["who may do what cannot be read: everybody is refused meanwhile"]);
    store.answerMs = 1;
    await timers.advanceMs(5 * SECOND_MS);
    expect(directory.isStale()).toBe(false);
    expect(lines[1]).toBe("who may do what is known again");
    directory.close();
  });

  test("that does not answer is asked less and less, one question after the other", async () => {
    const directory = await open();
    store.answerMs = undefined;
    const before = store.versions.length;
    await timers.advanceMs(MINUTE_MS);
    expect(store.versions.length - before).toBeLessThan(45);
    expect(store.versions.length - before).toBeGreaterThan(15);
    expect(failures).toBeGreaterThan(15);
    expect(store.mostUnderWay).toBe(1);
    directory.close();
  });

  test("of which one answer is lost is asked again within the second", async () => {
    const directory = await open();
    store.answerMs = undefined;
    await untilMs(() => store.underWay > 0);
    store.answerMs = 1;
    change({ producers: [producer("bot")] });
    expect(await untilMs(() => directory.findProducer("bot") !== undefined)).toBeLessThan(500);
    expect(failures).toBe(1);
    directory.close();
  });

  test("that is slow is waited for, so that the directory stays fresh", async () => {
    const directory = await open();
    store.answerMs = SLOW_MS;
    for (let second = 0; second < 60; second++) {
      await timers.advanceMs(SECOND_MS);
      expect(directory.isStale()).toBe(false);
    }
    change({ producers: [producer("bot")] });
    expect(await untilMs(() => directory.findProducer("bot") !== undefined)).toBeLessThan(3_000);
    directory.close();
  });

  test("is asked no more after the end", async () => {
    const directory = await open();
    store.answerMs = 100;
    await untilMs(() => store.underWay > 0);
    directory.close();
    directory.wake();
    const asked = store.versions.length;
    await timers.advanceMs(MINUTE_MS);
    expect(store.versions.length).toBe(asked);
    expect(timers.waitingCount).toBe(0);
  });
});

test("a process that was stopped for a while judges nobody until it has looked", async () => {
  const directory = await open();
  clock.advanceMs(MINUTE_MS);
  expect(directory.isStale()).toBe(true);
  await timers.advanceMs(2);
  expect(directory.isStale()).toBe(false);
  directory.close();
});

describe("secrets", () => {
  test("are opened once, the two newest, and forgotten with their producer", async () => {
    store.snapshot = snapshot({ producers: [producer("bot", "newest", "newer", "old")] });
    const directory = await open();
    expect(directory.findProducer("bot")?.secrets.map(({ secretId }) => secretId)).toEqual([
      "newest",
      "newer",
    ]);
    const [secret] = directory.findProducer("bot")?.secrets ?? [];
    change({});
    await timers.advanceMs(SECOND_MS);
    expect(directory.findProducer("bot")?.secrets[0]).toBe(secret);
    expect(opened).toEqual(["bot the secret of newest", "bot the secret of newer"]);
    change({ producers: [] });
    await timers.advanceMs(SECOND_MS);
    change({ producers: [producer("bot", "newest")] });
    await timers.advanceMs(SECOND_MS);
    expect(opened).toHaveLength(3);
    directory.close();
  });

  test("that were moved to another producer are opened there, or not", async () => {
    store.snapshot = snapshot({ producers: [producer("bot", "one"), producer("other")] });
    const directory = await open();
    change({ producers: [producer("bot"), producer("other", "one")] });
    await timers.advanceMs(SECOND_MS);
    expect(opened).toEqual(["bot the secret of one", "other the secret of one"]);
    directory.close();
  });

  test("that do not open leave others alone, are told of once and tried again", async () => {
    const producers = [producer("bot", "fine"), producer("hurt", "broken", "whole")];
    store.snapshot = snapshot({ producers });
    const directory = await open();
    expect(directory.findProducer("bot")?.secrets).toHaveLength(1);
    expect(directory.findProducer("hurt")?.secrets).toMatchObject([{ secretId: "whole" }]);
    change({});
    await timers.advanceMs(SECOND_MS);
    expect(opened.filter((each) => each === "hurt the secret of broken")).toHaveLength(2);
    expect(lines).toEqual([
      "a secret of producer hurt does not open: is COUNTERSIGN_MASTER_KEY the one that sealed it?",
    ]);
    directory.close();
  });
});

describe("a standing", () => {
  const token: LoadedToken = {
    tokenId: "token",
    name: "ops",
    tokenSha256: Buffer.alloc(32),
    scopes: ["read"],
    producerIds: undefined,
  };

  test("outlives changes of its token, and ends with it", async () => {
    store.snapshot = snapshot({ tokens: [token] });
    const directory = await open();
    const standing = directory.findToken("token")?.standing ?? expect.fail();
    change({
      tokens: [
        { ...token, scopes: ["admin"] },
        { ...token, tokenId: "other" },
      ],
    });
    await timers.advanceMs(SECOND_MS);
    expect(directory.findToken("token")).toMatchObject({ scopes: ["admin"] });
    expect(standing.isGood).toBe(true);
    change({ tokens: [{ ...token, tokenId: "other" }] });
    await timers.advanceMs(SECOND_MS);
    expect(standing.isGood).toBe(false);
    directory.close();
  });

  test("outlives changes of its secret, rests while the producer is disabled, and ends with it", async () => {
    const bot = producer("bot", "one", "two");
    store.snapshot = snapshot({ producers: [bot] });
    const directory = await open();
    const [one, two] = directory.findProducer("bot")?.secrets ?? [];
    const standings = () => [one?.standing.isGood, two?.standing.isGood];
    change({ producers: [{ ...bot, rateLimitPerSecond: 1 }] });
    await timers.advanceMs(SECOND_MS);
    expect(standings()).toEqual([true, true]);
    change({ producers: [{ ...bot, enabled: false }] });
    await timers.advanceMs(SECOND_MS);
    expect(standings()).toEqual([false, false]);
    change({ producers: [producer("bot", "two")] });
    await timers.advanceMs(SECOND_MS);
    expect(standings()).toEqual([false, true]);
    change({ producers: [] });
    await timers.advanceMs(SECOND_MS);
    expect(standings()).toEqual([false, false]);
    directory.close();
  });
});

test("the key that is in force is told, and learnt before anything is opened", async () => {
  const directory = await open();
  const sealingKeyId = Buffer.from("the key!");
  change({ sealingKeyId, producers: [producer("bot", "one")] });
  await timers.advanceMs(SECOND_MS);
  expect(directory.sealingKeyId).toBe(sealingKeyId);
  expect(learnt.at(-1)).toBe(sealingKeyId);
  directory.close();
});

test("finds nobody by a name that every object has", async () => {
  const directory = await open();
  for (const name of ["__proto__", "constructor", "toString", ""]) {
    expect(directory.findProducer(name)).toBeUndefined();
    expect(directory.findToken(name)).toBeUndefined();
  }
  directory.close();
  await settled();
});
