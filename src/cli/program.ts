/**
 * The command line: each command in a file of its own, put together here. A command loads
 * what it needs when it runs, so that signing does not wait for the server's code.
 */
import { type Command, CommanderError } from "commander";
import { VERSION } from "../server/version.ts";
import { alertCommand } from "./alert.ts";
import { CliError } from "./cliError.ts";
import { createCommand } from "./command.ts";
import { EXIT_FAILED, EXIT_OK, EXIT_USAGE } from "./exitCodes.ts";
import { migrateCommand } from "./migrate.ts";
import { outboxCommand } from "./outbox.ts";
import { note, surviveClosedPipes } from "./output.ts";
import { sendCommand } from "./send.ts";
import { serveCommand } from "./serve.ts";
import { signCommand } from "./sign.ts";
import { verifyCommand } from "./verify.ts";

/** Runs the command line of the process to its end, and sets the exit code. */
export async function runProgram(): Promise<void> {
  surviveClosedPipes();
  try {
    await createProgram().parseAsync();
  } catch (error) {
    process.exitCode = report(error);
  }
}

function createProgram(): Command {
  return createCommand("countersign")
    .description("Signed trading-signal ingest: proven, checked, stored exactly once.")
    .version(VERSION)
    .addCommand(serveCommand())
    .addCommand(migrateCommand())
    .addCommand(sendCommand())
    .addCommand(signCommand())
    .addCommand(verifyCommand())
    .addCommand(alertCommand())
    .addCommand(outboxCommand())
    .addHelpText("after", '\n"countersign <command> --help" shows examples and exit codes.');
}

/** Tells the person what went wrong. @returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has already written its message; help and version are no errors.
    return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
  }
  note(error instanceof Error ? error.message : String(error));
  return error instanceof CliError ? error.exitCode : EXIT_FAILED;
}
