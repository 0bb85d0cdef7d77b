import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  createOutbox,
  SignalError,
  type SignalInput,
  silentLogger,
} from "../../src/client/index.ts";
import type { Death } from "../../src/client/outbox/entry.ts";
import { OutboxFile } from "../../src/client/outbox/file.ts";
import { jsonLines, type RunResult, run, runProcess, Workspace } from "./support/run.ts";

const SIGNAL: SignalInput = {
  instrument: "GOLD",
  side: "buy",
  entryPrice: 1_950.5,
  stopLoss: 1_940,
  signalTime: "2025-10-25T14:30:45.123456789Z",
};

/** Not long after the time of {@link SIGNAL}. */
const EXPIRE_TIME = "2025-10-25T14:31:00Z";

interface Contents {
  readonly dead?: readonly string[];
  /** Dead letters whose signals have expired since. */
  readonly expired?: readonly string[];
  readonly waiting?: readonly string[];
}

/** A producer's outbox, in use, with signals by their keys. */
async function makeOutbox({ dead = [], expired = [], waiting = [] }: Contents) {
  const workspace = new Workspace();
  onTestFinished(() => workspace[Symbol.asyncDispose]());
  const path = join(workspace.path, "signals.outbox");
  let isRefusing = true;
  const fail = async () => {
    throw isRefusing
      ? new SignalError("INVALID_SIGNAL", "is \u001b[31mwrong", {
          violations: [{ field: "signal.side", description: "is wrong" }],
        })
      : new SignalError("UNREACHABLE", "no server");
  };
  const outbox = createOutbox({
    path,
    client: { ingest: fail, ingestBatch: fail },
    logger: silentLogger,
    // Then no signal has expired yet.
    ...(expired.length > 0 && {
      clock: { now: () => BigInt(Date.parse(EXPIRE_TIME) - 1_000) * 1_000_000n },
    }),
  });
  onTestFinished(() => outbox.close({ drainMs: 0 }));
  for (const idempotencyKey of [...dead, ...expired]) {
    const ends = expired.includes(idempotencyKey) ? { expireTime: EXPIRE_TIME } : {};
    await outbox.enqueue({ ...SIGNAL, ...ends }, { idempotencyKey });
    await outbox.flush(5_000);
  }
  isRefusing = false;
  for (const idempotencyKey of waiting) await outbox.enqueue(SIGNAL, { idempotencyKey });
  return { path, outbox };
}

const outbox = (...args: string[]) => run(["outbox", ...args]);
/** As a person does while the producer, which is this process, has the file open. */
const outboxOfAnother = (...args: string[]) => runProcess(["outbox", ...args]);

describe("countersign outbox", () => {
  it("shows how much waits and how much is dead, while the outbox is in use", async () => {
    const { path } = await makeOutbox({ dead: ["d1"], waiting: ["w1", "w2"] });
    const table = await outboxOfAnother("status", "--file", path);
    expect(table.code).toBe(0);
    expect(table.stdout).toMatch(
      /^waiting +2\noldest +\d+ s\ndead letters +1\n +INVALID_SIGNAL +1\n/,
    );
    expect(table.stderr).toMatch(
      /^countersign: Why signals wait, only their producer knows: .+\n$/,
    );
    const json = await outbox("status", "--file", path, "--json");
    expect([json.code, json.stderr]).toEqual([0, ""]);
    expect(jsonLines(json.stdout)).toEqual([
      {
        pending: 2,
        dead_letters: 1,
        dead_letters_by_reason: { INVALID_SIGNAL: 1 },
        bytes: expect.any(Number),
        oldest_age_seconds: expect.any(Number),
      },
    ]);
  });

  it("lists and exports signals as they were taken", async () => {
    const { path } = await makeOutbox({ dead: ["d1"], waiting: ["w1", "w2", "w3"] });
    const listed = await outbox("list", "--file", path, "--limit", "2");
    expect(listed.stdout.split("\n").map((line) => line.split(/ +/).at(-1))).toEqual([
      "KEY",
      "w1",
      "w2",
      "",
    ]);
    const dead = jsonLines((await outbox("list", "--file", path, "--dead", "--json")).stdout);
    expect(dead).toMatchObject([
      {
        reason: "INVALID_SIGNAL",
        errors: [{ field: "signal.side", description: "is wrong" }],
        signal: { idempotency_key: "d1" },
      },
    ]);
    const exported = await outbox("export", "--file", path);
    expect(jsonLines(exported.stdout)).toEqual(
      ["w1", "w2", "w3"].map((key) => ({
        idempotency_key: key,
        instrument: "GOLD",
        side: "buy",
        entry_price: 1_950.5,
        stop_loss: 1_940,
        signal_time: "2025-10-25T14:30:45.123456789Z",
      })),
    );
  });

  it("retries dead letters by key, and says which there are none", async () => {
    const { path, outbox: inUse } = await makeOutbox({ dead: ["d1", "d2"] });
    const { code, stdout, stderr } = await outboxOfAnother(
      ...["retry", "d1", "nope", "--file", path],
    );
    expect([code, stdout]).toEqual([1, "d1 will be delivered\n"]);
    expect(stderr).toMatch(/^countersign: There is no dead letter with the key nope\. [^\n]+\n$/);
    await expect.poll(() => inUse.status().pending, { timeout: 5_000 }).toBe(1);
    expect((await outbox("retry", "--all", "--file", path)).stdout).toBe("d2 will be delivered\n");
    expect((await outbox("retry", "--all", "--file", path)).stdout).toBe(
      "There are no dead letters.\n",
    );
  });

  it("leaves dead letters that have expired where they are, and says so", async () => {
    const { path } = await makeOutbox({ dead: ["d1"], expired: ["e1", "e2"] });
    const named = await outbox("retry", "e1", "nope", "--file", path);
    expect([named.code, named.stdout]).toEqual([1, ""]);
    expect(named.stderr.split("\n")).toEqual([
      `countersign: e1 stays a dead letter, since its signal expired at ${EXPIRE_TIME}.`,
      expect.stringContaining("There is no dead letter with the key nope."),
      "",
    ]);
    for (const stdout of ["d1 will be delivered\n", ""]) {
      const all = await outbox("retry", "--all", "--file", path);
      expect([all.code, all.stdout]).toEqual([1, stdout]);
      expect(all.stderr).toMatch(/^countersign: [^\n]* their signals have expired: 2\. [^\n]+\n$/);
    }
    const [status] = jsonLines((await outbox("status", "--file", path, "--json")).stdout);
    expect(status).toMatchObject({ pending: 1, dead_letters: 2 });
  });

  it("retries one of many dead letters", async () => {
    const { path, outbox: inUse } = await makeOutbox({ waiting: keys(250) });
    await inUse.close();
    buryAll(path);
    expect((await outbox("retry", "k240", "--file", path)).stdout).toBe("k240 will be delivered\n");
    expect(jsonLines((await outbox("export", "--file", path)).stdout)).toMatchObject([
      { idempotency_key: "k240" },
    ]);
  });

  it("hints at dead letters where nothing waits", async () => {
    const { path } = await makeOutbox({ dead: ["d1"] });
    const listed = await outbox("list", "--file", path);
    expect([listed.code, listed.stdout.split("\n").length]).toEqual([0, 2]);
    expect(listed.stderr).toContain("there are dead letters: --dead lists them.");
    expect((await outbox("list", "--file", path, "--dead")).stderr).toBe("");
    expect((await outbox("status", "--file", path)).stderr).toBe("");
  });

  it("drops dead letters, all of them with --yes only, and never what waits", async () => {
    const { path } = await makeOutbox({ dead: ["d1", "d2", "d3"], waiting: ["w1"] });
    expect(await outbox("drop", "d1", "--file", path)).toEqual({
      code: 0,
      stdout: "d1 dropped\n",
      stderr: "",
    });
    const refused = await outbox("drop", "--all", "--file", path);
    expect([refused.code, refused.stdout]).toEqual([2, ""]);
    expect(refused.stderr).toContain("would delete 2 dead letters for good. Add --yes");
    expect((await outbox("drop", "w1", "--file", path)).code).toBe(1);
    expect((await outbox("drop", "--all", "--yes", "--file", path)).code).toBe(0);
    const [status] = jsonLines((await outbox("status", "--file", path, "--json")).stdout);
    expect(status).toMatchObject({ pending: 1, dead_letters: 0 });
  });

  it.each([
    [
      ["status", "--file", "/nonexistent/x"],
      "--file /nonexistent/x cannot be read: there is no such file.",
    ],
    [["status"], "required option '--file <path>' not specified"],
    [["retry", "--file", "/nonexistent/x"], "one of the two is needed"],
    [["status", "--fil", "x"], "unknown option '--fil' (Did you mean --file?)"],
    [["drop", "k", "--all", "--file", "/nonexistent/x"], "but not both"],
  ])("ends %j with 2 and one line", async (args, message) => {
    const { code, stdout, stderr } = await outbox(...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^countersign: [^\n]+\n$/);
    expect(stderr).toContain(message);
    expect(existsSync("/nonexistent/x")).toBe(false);
  });

  it("ends with 1 for a file that is no outbox, and leaves it alone", async () => {
    await using workspace = new Workspace();
    const path = await workspace.write("notes.txt", "no outbox ".repeat(1_000));
    const { code, stdout, stderr } = await outbox("list", "--file", path);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(
      /^countersign: [^\n]* is no sound outbox: file is not a database\. [^\n]+\n$/,
    );
  });
});

describe("countersign outbox with a damaged file", () => {
  const SUFFIXES = ["", ".damaged-20251025T143045123Z-2"];

  it.each(SUFFIXES)("shows what can be read of it, and ends with 1: x%s", async (suffix) => {
    const original = await closedOutbox({ dead: ["d1"], waiting: ["w1", "w2", "w3"] });
    const path = original + suffix;
    copyFileSync(original, path);
    breakRecord(path, "w2");

    const status = await outbox("status", "--file", path);
    expect(status.code).toBe(1);
    expect(status.stdout).toMatch(
      /^waiting +2\n.*\ndead letters +1\n +INVALID_SIGNAL +1\nbytes +\d+\n$/,
    );
    expect(status.stderr).toMatch(
      /^countersign: [^\n]+ with key w2 is not as it was written\. [^\n]+\n$/,
    );
    expect(status.stderr).toContain("of its signals, 3 can be read and at least 1 cannot.");
    const advice = suffix === "" ? "A producer that starts on a damaged outbox" : `in ${original}.`;
    expect(status.stderr).toContain(advice);

    const listed = await outbox("list", "--file", path);
    expect([listed.code, listed.stdout.match(/w\d/g)]).toEqual([1, ["w1", "w3"]]);
    const exported = await outbox("export", "--file", path);
    expect([exported.code, keysOf(exported)]).toEqual([1, ["w1", "w3"]]);
  });

  it("does not change it", async () => {
    const path = await closedOutbox({ dead: ["d1"], waiting: ["w1"] });
    breakRecord(path, "w1");
    const before = readFileSync(path);
    for (const args of [["retry", "d1"], ["drop", "d1"], ["status"], ["export"]]) {
      const { code, stderr } = await outbox(...args, "--file", path);
      expect([args, code]).toEqual([args, 1]);
      expect(stderr).toContain("A producer that starts on a damaged outbox");
      expect(readFileSync(path).equals(before)).toBe(true);
    }
  });

  it("reads every signal if only the structure around them is gone", async () => {
    const path = await closedOutbox({ dead: ["d1"], waiting: keys(250) });
    writeFileSync(path, Buffer.alloc(100), { flag: "r+" });
    const exported = await outbox("export", "--file", path);
    expect([exported.code, keysOf(exported)]).toEqual([1, keys(250)]);
    expect(exported.stderr).toContain("251 can be read. A producer");
  });

  it("repeats no signal when it proves to be damaged half-way", async () => {
    const path = await closedOutbox({ waiting: keys(250) });
    breakRecord(path, "k240");
    const exported = await outbox("export", "--file", path);
    expect(exported.code).toBe(1);
    expect(keysOf(exported)).toEqual(keys(250).filter((key) => key !== "k240"));
  });

  it("judges all of a file that was set aside, whatever is asked for", async () => {
    const original = await closedOutbox({ dead: ["d1"], waiting: ["w1"] });
    const path = `${original}.damaged-20251025T143045123Z`;
    copyFileSync(original, path);
    expect(await outbox("export", "--file", path)).toMatchObject({ code: 0, stderr: "" });
    breakRecord(path, "d1");
    const exported = await outbox("export", "--file", path);
    expect([exported.code, keysOf(exported)]).toEqual([1, ["w1"]]);
    expect(exported.stderr).toContain("with key d1 is not as it was written");
  });
});

function keys(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `k${String(index).padStart(3, "0")}`);
}

function keysOf({ stdout }: RunResult): unknown[] {
  return jsonLines(stdout).map((signal) => signal.idempotency_key);
}

async function closedOutbox(contents: Contents): Promise<string> {
  const { path, outbox } = await makeOutbox(contents);
  await outbox.close({ drainMs: 0 });
  return path;
}

/** Makes a dead letter of every signal that waits. */
function buryAll(path: string): void {
  const file = new OutboxFile(path);
  try {
    file.check();
    const death: Death = { reason: "GIVEN_UP", message: "", violations: [], diedMs: 0 };
    const entries = file.entries("pending", 0, 1_000);
    file.settle(
      [],
      entries.map((entry) => ({ ...entry, death })),
    );
  } finally {
    file.close();
  }
}

/** Changes a bit in every record of the key. */
function breakRecord(path: string, key: string): void {
  const bytes = readFileSync(path);
  const text = `"idempotencyKey":"${key}"`;
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) bytes[at] = 0x23;
  writeFileSync(path, bytes);
}
