#!/usr/bin/env node
/**
 * What `countersign` runs. On a Node.js that is too old, the program could fail anywhere and
 * for a reason that nobody understands, so nothing of it is loaded before that is judged.
 */
import { EXIT_USAGE } from "./cliError.ts";
import { nodeFault } from "./nodeVersion.ts";
import { note, surviveLostOutput } from "./output.ts";

const fault = nodeFault(process.version);
if (fault === undefined) {
  surviveLostOutput();
  const { runProgram } = await import("./program.ts");
  await runProgram();
} else {
  note(fault);
  process.exitCode = EXIT_USAGE;
}
