import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { createOutbox, SignalError, type SignalInput } from "../../src/client/index.ts";
import { jsonLines, run, Workspace } from "./support/run.ts";

const SIGNAL: SignalInput = {
  instrument: "GOLD",
  side: "buy",
  entryPrice: 1_950.5,
  stopLoss: 1_940,
  signalTime: "2025-10-25T14:30:45.123456789Z",
};

/** A producer's outbox, in use: dead letters with keys in `dead`, the others wait. */
async function makeOutbox({ dead = [] as string[], waiting = [] as string[] }) {
  const workspace = await Workspace.create();
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
    logger: { info() {}, warn() {}, error() {} },
  });
  onTestFinished(() => outbox.close({ drainMs: 0 }));
  for (const idempotencyKey of dead) {
    await outbox.enqueue(SIGNAL, { idempotencyKey });
    await outbox.flush(5_000);
  }
  isRefusing = false;
  for (const idempotencyKey of waiting) await outbox.enqueue(SIGNAL, { idempotencyKey });
  return { path, outbox };
}

const outbox = (...args: string[]) => run(["outbox", ...args]);

describe("countersign outbox", () => {
  it("shows how much waits and how much is dead, while the outbox is in use", async () => {
    const { path } = await makeOutbox({ dead: ["d1"], waiting: ["w1", "w2"] });
    const table = await outbox("status", "--file", path);
    expect([table.code, table.stderr]).toEqual([0, ""]);
    expect(table.stdout).toMatch(
      /^waiting +2\noldest +\d+ s\ndead letters +1\n +INVALID_SIGNAL +1\n/,
    );
    const json = await outbox("status", "--file", path, "--json");
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
    const { code, stdout, stderr } = await outbox("retry", "d1", "nope", "--file", path);
    expect([code, stdout]).toEqual([1, "d1 will be delivered\n"]);
    expect(stderr).toMatch(/^countersign: There is no dead letter with the key nope\. [^\n]+\n$/);
    await expect.poll(() => inUse.status().pending, { timeout: 5_000 }).toBe(1);
    expect((await outbox("retry", "--all", "--file", path)).stdout).toBe("d2 will be delivered\n");
    expect((await outbox("retry", "--all", "--file", path)).stdout).toBe(
      "There are no dead letters.\n",
    );
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
    [["status", "--file", "/nonexistent/x"], "There is no outbox at --file /nonexistent/x."],
    [["status"], "required option '--file <path>' not specified"],
    [["retry", "--file", "/nonexistent/x"], "Give the keys of dead letters, or --all"],
    [["drop", "k", "--all", "--file", "/nonexistent/x"], "but not both"],
  ])("ends %j with 2 and one line", async (args, message) => {
    const { code, stdout, stderr } = await outbox(...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^countersign: [^\n]+\n$/);
    expect(stderr).toContain(message);
    expect(existsSync("/nonexistent/x")).toBe(false);
  });

  it("ends with 1 for a file that is no outbox, and leaves it alone", async () => {
    await using workspace = await Workspace.create();
    const path = await workspace.write("notes.txt", "no outbox ".repeat(1_000));
    const { code, stdout, stderr } = await outbox("list", "--file", path);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(
      /^countersign: [^\n]* is no sound outbox: file is not a database\. [^\n]+\n$/,
    );
  });
});
