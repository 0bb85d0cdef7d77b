/**
 * Who has an outbox file, and where it may be: two processes, two names of one file, files that
 * vanish, and paths that cannot hold one.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { OutboxError } from "../../../src/client/index.ts";
import { OutboxFile } from "../../../src/client/outbox/file.ts";
import { isOtherAlive, thisOwner } from "../../../src/client/outbox/lock.ts";
import { INDEX, runProgram } from "../support/program.ts";
import { openOutbox, outboxPath, RecordingAlerts, SIGNAL } from "./support.ts";

/** A program that opens an outbox, tells what came of it, and keeps it until its input ends. */
function opening(path: string): string {
  return `
    import { createOutbox } from ${INDEX};
    const client = { ingest: () => new Promise(() => {}), ingestBatch: () => new Promise(() => {}) };
    try {
      const outbox = createOutbox({ path: ${JSON.stringify(path)}, client });
      console.log(outbox.status().pending + " pending");
    } catch (error) {
      console.log(error.message);
      process.exit();
    }
    for await (const _ of process.stdin);`;
}

/** What comes of it if another process opens an outbox. */
async function openElsewhere(path: string): Promise<string> {
  return (await runProgram(opening(path))).stdout.trim();
}

describe("the lock", () => {
  it("refuses a second outbox of this process, and is free again after a close", async () => {
    const path = outboxPath();
    const first = openOutbox({ path });
    expect(() => openOutbox({ path })).toThrow(OutboxError);
    expect(() => openOutbox({ path: join(dirname(path), ".", "signals.outbox") })).toThrow(
      OutboxError,
    );
    await first.close();
    openOutbox({ path });
  });

  it("is one that only its owner can open, also if it was not", () => {
    const path = outboxPath();
    writeFileSync(`${path}.lock`, "", { mode: 0o666 });
    chmodSync(`${path}.lock`, 0o666);
    openOutbox({ path });
    expect(statSync(`${path}.lock`).mode & 0o777).toBe(0o600);
    const other = outboxPath();
    openOutbox({ path: other });
    expect(statSync(`${other}.lock`).mode & 0o777).toBe(0o600);

    // One that can only be read keeps nobody else out.
    const third = outboxPath();
    writeFileSync(`${third}.lock`, "", { mode: 0o400 });
    openOutbox({ path: third });
    expect(statSync(`${third}.lock`).mode & 0o777).toBe(0o600);
  });

  it("is not that of somebody else, nor a link to another file", async ({ skip }) => {
    if (process.geteuid?.() !== 0) return skip("only root can make a file of somebody else");
    const path = outboxPath();
    writeFileSync(`${path}.lock`, "");
    chownSync(`${path}.lock`, 65_534, 65_534);
    // Whoever has it open may hold it for ever.
    const held = new DatabaseSync(`${path}.lock`);
    onTestFinished(() => held.close());
    held.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    await openOutbox({ path }).close();

    for (const link of [linkSync, symlinkSync]) {
      rmSync(`${path}.lock`);
      link(path, `${path}.lock`);
      const outbox = openOutbox({ path });
      await outbox.enqueue(SIGNAL);
      await outbox.close();
      expect(lstatSync(`${path}.lock`)).toMatchObject({ size: 0, nlink: 1 });
    }
  });

  it("says what to do about one that cannot be replaced", () => {
    const path = outboxPath();
    mkdirSync(`${path}.lock`);
    expect(() => openOutbox({ path })).toThrow(/OUTBOX_STORAGE.*\.lock is not one .* Remove it/);
  });

  it("holds for every name of the file, in this process and in others", async () => {
    const path = outboxPath();
    const outbox = openOutbox({ path });
    await outbox.enqueue(SIGNAL, { idempotencyKey: "key" });
    const names = [`${path}.hard`, `${path}.soft`];
    linkSync(path, `${path}.hard`);
    symlinkSync(path, `${path}.soft`);
    for (const name of names) {
      expect(() => openOutbox({ path: name })).toThrow(/OUTBOX_LOCKED/);
      expect(await openElsewhere(name)).toContain("OUTBOX_LOCKED");
    }
    // Neither does it stand in the way of the outbox, now or later.
    await outbox.enqueue(SIGNAL);
    await outbox.close();
    for (const name of [path, ...names]) {
      const next = openOutbox({ path: name });
      expect(next.status().pending).toBe(2);
      await next.close();
    }
  });

  it("holds although it is deleted, and does not stop who has it", async () => {
    const path = outboxPath();
    const alerts = new RecordingAlerts();
    const outbox = openOutbox({ path, alerts });
    for (let round = 0; round < 3; round++) {
      rmSync(`${path}.lock`);
      expect(await openElsewhere(path)).toContain("OUTBOX_LOCKED");
      expect(() => openOutbox({ path })).toThrow(/OUTBOX_LOCKED/);
      await outbox.enqueue(SIGNAL);
      rmSync(`${path}.lock`);
      await outbox.enqueue(SIGNAL);
      expect(statSync(`${path}.lock`).mode & 0o777).toBe(0o600);
    }
    expect(alerts.sent).toEqual([]);
    await outbox.close();
    expect(await openElsewhere(path)).toBe("6 pending");
  });

  it("does not stop who has it while another looks", async () => {
    const path = outboxPath();
    const outbox = openOutbox({ path });
    rmSync(`${path}.lock`);
    const other = new DatabaseSync(`${path}.lock`);
    onTestFinished(() => other.close());
    other.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    await outbox.enqueue(SIGNAL);
    expect(outbox.status().pending).toBe(1);
  });

  it("does not mind garbage in the lock file", () => {
    const path = outboxPath();
    writeFileSync(`${path}.lock`, "garbage ".repeat(1_000));
    openOutbox({ path });
  });
});

describe("a file that vanishes while it is in use", () => {
  const WAYS: Readonly<Record<string, (path: string) => void>> = {
    deleted: (path) => rmSync(path),
    "deleted with all that belongs to it": (path) => {
      for (const suffix of ["", "-journal", ".lock"]) rmSync(path + suffix);
    },
    moved: (path) => renameSync(path, `${path}.moved`),
    "replaced by another": (path) => {
      writeFileSync(`${path}.other`, "another");
      renameSync(`${path}.other`, path);
    },
    "deleted with its folder": (path) => rmSync(dirname(path), { recursive: true }),
  };

  it.each(Object.keys(WAYS))("%s is written anew before a signal is acknowledged", async (way) => {
    const path = outboxPath();
    const alerts = new RecordingAlerts();
    const outbox = openOutbox({ path, alerts });
    await outbox.enqueue(SIGNAL, { idempotencyKey: "before" });
    WAYS[way]?.(path);
    await outbox.enqueue(SIGNAL, { idempotencyKey: "after" });
    expect(alerts.kinds).toEqual(["outbox_damaged"]);
    const others = readdirSync(dirname(path)).filter((name) => name.includes(".damaged-"));
    expect(others).toHaveLength(way === "replaced by another" ? 1 : 0);
    const file = new OutboxFile(path);
    onTestFinished(() => file.close());
    expect(file.check()).toBeUndefined();
    expect(file.everything().entries.map(({ idempotencyKey }) => idempotencyKey)).toEqual([
      "before",
      "after",
    ]);
    expect(() => openOutbox({ path })).toThrow(OutboxError);
  });
});

const isLinux = process.platform === "linux";

/** Another process, and how the system names it. */
async function otherProcess() {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1_000)"]);
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child, "spawn");
  const pid = child.pid ?? 0;
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  return { child, owner: { pid, startedTicks: stat.split(" ")[21] ?? "" } };
}

it.runIf(isLinux)(
  "the owner of a file is alive while its process runs, and not for another of its number",
  async () => {
    const { child, owner } = await otherProcess();
    expect(isOtherAlive(owner)).toBe(true);
    expect(isOtherAlive({ ...owner, startedTicks: "1" })).toBe(false);
    child.kill("SIGKILL");
    await once(child, "close");
    expect(isOtherAlive(owner)).toBe(false);
  },
);

it.runIf(isLinux)("the owner of a file is no other if it is this process", () => {
  const owner = thisOwner();
  expect(owner).toEqual({ pid: process.pid, startedTicks: expect.stringMatching(/^\d+$/) });
  expect(owner && isOtherAlive(owner)).toBe(false);
});

describe("what is no regular file is refused and left where it is", () => {
  it.each([
    ["a named pipe", (path: string) => execFileSync("mkfifo", [path])],
    ["a folder", (path: string) => mkdirSync(path)],
  ])("%s", (_what, make) => {
    const path = outboxPath();
    make(path);
    const { dev, ino, mode } = lstatSync(path);
    expect(() => openOutbox({ path })).toThrow(/OUTBOX_FOREIGN_FILE.*not a regular file/);
    expect(lstatSync(path)).toMatchObject({ dev, ino, mode });
    expect(readdirSync(dirname(path))).toEqual(["signals.outbox"]);
  });
});

it("makes the folders above its file", () => {
  const path = join(dirname(outboxPath()), "deep", "down", "signals.outbox");
  openOutbox({ path });
  expect(readdirSync(dirname(path))).toContain("signals.outbox");
});

// Asked for a folder there, the recursive call of the system never returns.
it.runIf(process.platform === "linux").each(["/proc/signals.outbox", "/proc/deep/signals.outbox"])(
  "%s, on a file system that holds no files, is an error",
  (path) => {
    expect(() => openOutbox({ path })).toThrow(/OUTBOX_STORAGE/);
  },
);
