import { type Command, Option } from "commander";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE } from "../cliError.ts";
import { addHelp, createCommand, createCommandGroup, parseInteger } from "../command.ts";
import type { MigrateDownArguments, MigrateOptions } from "./run.ts";

const NOTES = `The database is the one of DATABASE_URL, or, if that is unset, the embedded one under
DATA_DIR (.countersign).`;

const EXIT_CODES = {
  [EXIT_OK]: "done",
  [EXIT_FAILED]: "a migration failed, or the database belongs to a newer version",
  [EXIT_USAGE]: "the command line or a variable is wrong, or --yes is missing",
  [EXIT_UNAVAILABLE]: "the database cannot be reached",
};

/** `countersign migrate`: brings the schema of the database to this version, and back. */
export function migrateCommand(): Command {
  const command = createCommandGroup("migrate", ["down"])
    .description("change or show the schema of the database")
    .addCommand(upCommand())
    .addCommand(downCommand())
    .addCommand(statusCommand());
  return addHelp(command, {
    notes: `${NOTES} "serve" migrates up by itself.`,
    examples: ["countersign migrate status", "countersign migrate up"],
    exitCodes: EXIT_CODES,
  });
}

function upCommand(): Command {
  const command = subcommand("up", "apply all migrations that are pending").action(
    async (options: MigrateOptions) => {
      const { migrateUp } = await import("./run.ts");
      await migrateUp(options);
    },
  );
  return addHelp(command, {
    notes: NOTES,
    examples: ["countersign migrate up", "countersign migrate up --env-file /etc/countersign.env"],
    exitCodes: EXIT_CODES,
  });
}

function downCommand(): Command {
  const steps = new Option("--steps <n>", "how many migrations to revert, the last first (1)")
    .argParser(parseInteger(1, 1_000))
    .conflicts("to");
  const command = subcommand("down", "revert migrations, and delete the data that they hold")
    .addOption(steps)
    .option("--to <name>", "revert this migration and all after it")
    .option("--yes", "really delete the data")
    .action(async (options: MigrateDownArguments) => {
      const { migrateDown } = await import("./run.ts");
      await migrateDown(options);
    });
  return addHelp(command, {
    notes: `${NOTES} Stop all servers of the database first.`,
    examples: [
      "countersign migrate down --yes",
      "countersign migrate down --steps 2 --yes",
      "countersign migrate down --to 0002_signals --yes",
    ],
    exitCodes: EXIT_CODES,
  });
}

function statusCommand(): Command {
  const command = subcommand("status", "show which migrations are applied").action(
    async (options: MigrateOptions) => {
      const { showMigrationStatus } = await import("./run.ts");
      await showMigrationStatus(options);
    },
  );
  return addHelp(command, {
    notes: NOTES,
    examples: [
      "countersign migrate status",
      `countersign migrate status --json | jq -r 'select(.applied_at == null).name'`,
    ],
    exitCodes: EXIT_CODES,
  });
}

function subcommand(name: string, description: string): Command {
  return createCommand(name)
    .description(description)
    .option("--env-file <path>", "read environment variables from this file first")
    .option("--json", "print one JSON object a line");
}
