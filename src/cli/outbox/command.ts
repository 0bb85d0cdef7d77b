import type { Command } from "commander";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE } from "../cliError.ts";
import {
  addHelp,
  addRequiredOption,
  createCommand,
  createCommandGroup,
  parseInteger,
} from "../command.ts";
import type { ChangeOptions, ExportOptions, FileOptions, ListOptions } from "./run.ts";

const NOTES = `An outbox is the file in which a producer keeps signals until the server has them. All of
these commands may be used while the producer runs. Dead letters are signals that could not
be delivered; they stay in the file until they are retried or dropped.`;

const READ_NOTES = `${NOTES}

Of a damaged file, also of one that a producer has set aside, it shows what can be read.`;

const EXIT_CODES = {
  [EXIT_OK]: "done",
  [EXIT_FAILED]: "the outbox is damaged, or a dead letter is not there or has expired",
  [EXIT_USAGE]: "the command line is wrong, there is no such file, or --yes is missing",
  [EXIT_UNAVAILABLE]: "the file could not be read or written; try again",
};

const READ_EXIT_CODES = {
  [EXIT_OK]: "all of it is shown",
  [EXIT_FAILED]: "the outbox is damaged; only what can be read is shown, if anything",
  [EXIT_USAGE]: "the command line is wrong, or there is no such file",
  [EXIT_UNAVAILABLE]: "the file could not be read; try again",
};

/** `countersign outbox`: looks into the outbox of a producer, and deals with dead letters. */
export function outboxCommand(): Command {
  const command = createCommandGroup("outbox", ["drop"])
    .description("look into a producer's outbox, and retry or drop dead letters")
    .addCommand(statusCommand())
    .addCommand(listCommand())
    .addCommand(retryCommand())
    .addCommand(dropCommand())
    .addCommand(exportCommand());
  return addHelp(command, {
    notes: NOTES,
    examples: [
      "countersign outbox status --file signals.outbox",
      "countersign outbox list --file signals.outbox --dead",
    ],
    exitCodes: EXIT_CODES,
  });
}

function statusCommand(): Command {
  const command = subcommand("status", "show how much is in the outbox")
    .option("--json", "print a JSON object")
    .action(async (options: FileOptions) => {
      const { showStatus } = await import("./run.ts");
      await showStatus(options);
    });
  return addHelp(command, {
    notes: READ_NOTES,
    examples: [
      "countersign outbox status --file signals.outbox",
      "countersign outbox status --file signals.outbox --json | jq .dead_letters",
    ],
    exitCodes: READ_EXIT_CODES,
  });
}

function listCommand(): Command {
  const command = subcommand("list", "list signals that wait, the oldest first")
    .option("--dead", "list dead letters instead, and why they are some")
    .option("--limit <n>", "how many at most (100)", parseInteger(1, 1_000_000))
    .option("--json", "print one JSON object a line")
    .action(async (options: ListOptions) => {
      const { list } = await import("./run.ts");
      await list(options);
    });
  return addHelp(command, {
    notes: READ_NOTES,
    examples: [
      "countersign outbox list --file signals.outbox --limit 20",
      "countersign outbox list --file signals.outbox --dead --json | jq -r .reason",
    ],
    exitCodes: READ_EXIT_CODES,
  });
}

function retryCommand(): Command {
  const command = subcommand("retry", "have dead letters delivered after all")
    .argument("[keys...]", "idempotency keys of dead letters")
    .option("--all", "all dead letters")
    .action(async (keys: readonly string[], options: ChangeOptions) => {
      const { retry } = await import("./run.ts");
      await retry(keys, options);
    });
  return addHelp(command, {
    notes: `${NOTES}

They line up behind the signals that wait, and their age counts from now. A producer that
runs sees them within seconds; another delivers them after its next start. One whose signal
has expired stays a dead letter, since no server would store it.`,
    examples: [
      "countersign outbox retry --file signals.outbox gold-2025-10-25",
      "countersign outbox retry --file signals.outbox --all",
    ],
    exitCodes: {
      ...EXIT_CODES,
      [EXIT_FAILED]: "a dead letter has expired or is not there, or the outbox is damaged",
      [EXIT_USAGE]: "the command line is wrong, or there is no such file",
    },
  });
}

function dropCommand(): Command {
  const command = subcommand("drop", "delete dead letters for good")
    .argument("[keys...]", "idempotency keys of dead letters")
    .option("--all", "all dead letters; needs --yes")
    .option("--yes", "really delete all of them")
    .action(async (keys: readonly string[], options: ChangeOptions) => {
      const { drop } = await import("./run.ts");
      await drop(keys, options);
    });
  return addHelp(command, {
    notes: `${NOTES}

"export --dead" writes them to a file first.`,
    examples: [
      "countersign outbox drop --file signals.outbox gold-2025-10-25",
      "countersign outbox drop --file signals.outbox --all --yes",
    ],
    exitCodes: {
      ...EXIT_CODES,
      [EXIT_FAILED]: "there is no dead letter with such a key, or the outbox is damaged",
    },
  });
}

function exportCommand(): Command {
  const command = subcommand("export", "print signals as JSON, one object a line")
    .option("--dead", "the dead letters instead of the signals that wait")
    .action(async (options: ExportOptions) => {
      const { exportSignals } = await import("./run.ts");
      await exportSignals(options);
    });
  return addHelp(command, {
    notes: `${READ_NOTES}

Each line has the key and the time that the signal had, so "countersign send" can send it
without storing it twice, but only as the producer whose outbox it is: a key names a signal
of one producer, and sent as another, it is stored a second time. So give "send" the
--env-file of that producer. Nothing is removed from the outbox.`,
    examples: [
      "countersign outbox export --file signals.outbox > signals.ndjson",
      "countersign outbox export --file signals.outbox --dead |",
      "  countersign send --env-file bot.env -",
    ],
    exitCodes: READ_EXIT_CODES,
  });
}

function subcommand(name: string, description: string): Command {
  const command = createCommand(name).description(description);
  return addRequiredOption(command, "--file <path>", "the outbox file");
}
