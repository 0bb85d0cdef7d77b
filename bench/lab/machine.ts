/** What the numbers were measured on. */
import { execFileSync } from "node:child_process";
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { median } from "./statistics.ts";

const SYNCS = 200;
const BLOCK_BYTES = 8_192;
/** More waiting processes than this, for each core, and others take part of the machine. */
const QUIET_LOAD_PER_CORE = 0.5;

/**
 * The machine, one fact a line.
 *
 * @param dir where the database will be.
 */
export function describeMachine(dir: string, postgresVersion: string): readonly string[] {
  const cpus = os.cpus();
  const load = os.loadavg()[0] as number;
  const isBusy = load > QUIET_LOAD_PER_CORE * cpus.length;
  return [
    `${cpus.length} cores of ${cpus[0]?.model ?? "an unknown CPU"}, ${Math.round(os.totalmem() / 2 ** 30)} GB`,
    `${os.type()} ${os.release()}, Node.js ${process.versions.node}, PostgreSQL ${postgresVersion}`,
    `fdatasync of ${BLOCK_BYTES / 1024} kB: ${(syncMs(dir) * 1_000).toFixed(0)} µs (median)`,
    `load average at the start: ${load.toFixed(1)}${isBusy ? " – other work took part of the machine" : ""}`,
    `commit ${commit()}`,
  ];
}

/** What one commit costs at least on this disk. */
function syncMs(dir: string): number {
  const file = join(dir, "sync-probe");
  const block = Buffer.alloc(BLOCK_BYTES, 1);
  const fd = openSync(file, "w");
  const durations: number[] = [];
  for (let i = 0; i < SYNCS; i++) {
    const startMs = performance.now();
    writeSync(fd, block, 0, BLOCK_BYTES, 0);
    fdatasyncSync(fd);
    durations.push(performance.now() - startMs);
  }
  closeSync(fd);
  rmSync(file);
  return median(durations);
}

function commit(): string {
  try {
    const args = ["describe", "--always", "--dirty", "--abbrev=10"];
    return execFileSync("git", args, {
      cwd: import.meta.dirname,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "unknown";
  }
}
