#!/usr/bin/env -S node --
/**
 * The command `countersign`: runs the program, of a clone as it is written and of an installed
 * package as it was compiled. On a Node.js that is too old it could fail anywhere and for a reason
 * that nobody understands, so there the one that npm installed beside it takes over.
 *
 * After the two dashes Node.js looks for no options of its own. Without them it would take each
 * --env-file for one, and end if there is no such file yet.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { isatty } from "node:tty";
import { fileURLToPath, pathToFileURL } from "node:url";

const HOME = join(dirname(fileURLToPath(import.meta.url)), "..");
/** As src/cli/cliError.ts has it, which an old Node.js cannot read. */
const EXIT_USAGE = 2;

const wanted = readJson(join(HOME, "package.json")).engines.node.replace(">=", "");

if (isAtLeast(process.versions.node, wanted)) {
  const source = join(HOME, "src/cli/main.ts");
  // What a clone has compiled may be older than its source.
  const program = existsSync(source) ? source : join(HOME, "dist/src/cli/main.js");
  await import(pathToFileURL(program).href);
} else {
  const node = installedNode();
  if (node === undefined) {
    process.stderr.write(
      `countersign: This needs Node.js ${wanted} or newer and runs on ${process.versions.node}, and npm has not installed one beside it.\n`,
    );
    process.exitCode = EXIT_USAGE;
  } else {
    runOn(node);
  }
}

/** The path of the Node.js that npm installed, undefined if it was left out or is too old as well. */
function installedNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve("node/package.json");
    const { version, bin } = readJson(manifest);
    const node = join(dirname(manifest), bin.node);
    return isAtLeast(version, wanted) && existsSync(node) ? node : undefined;
  } catch {
    return undefined;
  }
}

/** Calls this file again, and ends as that ends. */
function runOn(node) {
  const call = process.argv.slice(1);
  const child = spawn(node, [...process.execArgv, "--", ...call], { stdio: "inherit" });
  // A terminal sends these to all of its processes, so that the child has them already; and a
  // second one means more than the first. Behind a pipe, the output still shows the terminal.
  const isAtTerminal = [0, 1, 2].some((stream) => isatty(stream));
  const isShared = (signal) => signal !== "SIGTERM" && isAtTerminal;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) {
    process.on(signal, () => isShared(signal) || child.kill(signal));
  }
  child.on("error", (error) => {
    process.stderr.write(`countersign: ${node} cannot be started: ${error.message}\n`);
    process.exitCode = EXIT_USAGE;
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

/** Whether a version such as 24.16.0 is this one or newer. */
function isAtLeast(version, least) {
  return version.localeCompare(least, "en", { numeric: true }) >= 0;
}

function readJson(path) {
  return JSON.parse(readFileSync(path, "utf8"));
}
