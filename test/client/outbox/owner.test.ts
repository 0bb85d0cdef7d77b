import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { expect, it, onTestFinished } from "vitest";
import { isOtherAlive, thisOwner } from "../../../src/client/outbox/lock.ts";

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
  "is alive while its process runs, and not for another of its number",
  async () => {
    const { child, owner } = await otherProcess();
    expect(isOtherAlive(owner)).toBe(true);
    expect(isOtherAlive({ ...owner, startedTicks: "1" })).toBe(false);
    child.kill("SIGKILL");
    await once(child, "close");
    expect(isOtherAlive(owner)).toBe(false);
  },
);

it.runIf(isLinux)("is never this process", () => {
  const owner = thisOwner();
  expect(owner).toEqual({ pid: process.pid, startedTicks: expect.stringMatching(/^\d+$/) });
  expect(owner && isOtherAlive(owner)).toBe(false);
});
