/**
 * The command line: each command in a file of its own, put together here. A command loads
 * what it needs when it runs, so that signing does not wait for the server's code.
 */
import { type Command, CommanderError } from "commander";
import { VERSION } from "../server/version.ts";
import { alertCommand } from "./alert/command.ts";
import { auditCommand } from "./audit/command.ts";
import { CliError, EXIT_FAILED, EXIT_OK, EXIT_USAGE } from "./cliError.ts";
import { createCommand } from "./command.ts";
import { masterKeyCommand } from "./masterKey/command.ts";
import { migrateCommand } from "./migrate/command.ts";
import { outboxCommand } from "./outbox/command.ts";
import { note, writeOut } from "./output.ts";
import { producersCommand } from "./producers/command.ts";
import { sendCommand } from "./send/command.ts";
import { serveCommand } from "./serve/command.ts";
import { signCommand } from "./sign/command.ts";
import { tokensCommand } from "./tokens/command.ts";
import { verifyCommand } from "./verify/command.ts";

/** Runs the command line of the process to its end, and sets the exit code. */
export async function runProgram(): Promise<void> {
  try {
    await createProgram().parseAsync();
  } catch (error) {
    process.exitCode = report(error);
  }
}

function createProgram(): Command {
  return createCommand("countersign")
    .description("Signed trading-signal ingest: proven, checked, stored exactly once.")
    .version(VERSION, "-v, --version", "print the version")
    .addCommand(serveCommand())
    .addCommand(migrateCommand())
    .addCommand(masterKeyCommand())
    .addCommand(sendCommand())
    .addCommand(signCommand())
    .addCommand(verifyCommand())
    .addCommand(alertCommand())
    .addCommand(outboxCommand())
    .addCommand(producersCommand())
    .addCommand(tokensCommand())
    .addCommand(auditCommand())
    .addCommand(helpCommand())
    .addCommand(versionCommand())
    .addHelpText("after", '\n"countersign help <command>" shows examples and exit codes.');
}

/** `countersign help`: what `--help` of a command shows, for those who ask in this way. */
function helpCommand(): Command {
  return createCommand("help")
    .description("show how a command is used")
    .argument("[command...]", "its name, such as send or outbox list")
    .action(async (names: readonly string[]) => {
      let command = createProgram();
      for (const [index, name] of names.entries()) {
        const { commands } = command;
        const next = commands.find((each) => each.name() === name);
        // A group runs nothing by itself: it tells that there is no such command, and which
        // one was meant. What follows another command's name are arguments.
        if (next === undefined && commands.length > 0)
          return tellUnknown(names.slice(0, index + 1));
        command = next ?? command;
      }
      command.outputHelp();
    });
}

async function tellUnknown(names: readonly string[]): Promise<void> {
  await createProgram().parseAsync([...names], { from: "user" });
}

function versionCommand(): Command {
  return createCommand("version")
    .description("print the version")
    .action(() => writeOut(`${VERSION}\n`));
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
