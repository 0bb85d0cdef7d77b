/**
 * Paths that cannot hold an outbox: an error that says so, at once, and nothing there is touched.
 */
import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { openOutbox, outboxPath } from "./support.ts";

/** Tells a file from any other that took its place. */
function identity(path: string): string {
  const { dev, ino, mode } = lstatSync(path);
  return `${dev}:${ino}:${mode}`;
}

describe("what is no regular file is refused and left where it is", () => {
  it.skipIf(process.platform === "win32")("a named pipe", () => {
    const path = outboxPath();
    execFileSync("mkfifo", [path]);
    const before = identity(path);
    expect(() => openOutbox({ path })).toThrow(/OUTBOX_FOREIGN_FILE.*not a regular file/);
    expect(identity(path)).toBe(before);
    expect(readdirSync(dirname(path))).toEqual(["signals.outbox"]);
  });

  it("a folder", () => {
    const path = outboxPath();
    mkdirSync(path);
    expect(() => openOutbox({ path })).toThrow(/OUTBOX_FOREIGN_FILE.*not a regular file/);
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
