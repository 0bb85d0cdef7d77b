import type { Command } from "commander";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE, usageError } from "../cliError.ts";
import { addHelp, createCommand, createCommandGroup } from "../command.ts";
import type { RotateOptions } from "./run.ts";

const NOTES = `All producers' secrets are sealed under the new key in one step, while servers run
and signals come. No secret changes.

With DATABASE_URL, COUNTERSIGN_MASTER_KEY is the new key and COUNTERSIGN_PREVIOUS_MASTER_KEY the
one before it. Restart every server with both first. Set them in a file for --env-file, so that
they get into no history. When this is done, take COUNTERSIGN_PREVIOUS_MASTER_KEY away.

On the embedded database the new key is made, and kept in master.key under DATA_DIR
(.countersign). Servers that run take it up by themselves.

What was interrupted is finished by the same command.`;

const NO_ARGUMENTS =
  "It takes no arguments. Keys come from variables, since a command line can be seen by others: make another key, if one was given so.";

const EXIT_CODES = {
  [EXIT_OK]: "done, or nothing to do",
  [EXIT_FAILED]: "the answer was no, another rotation runs, or the database refused",
  [EXIT_USAGE]: "a variable is wrong, a key opens nothing, or --yes is missing",
  [EXIT_UNAVAILABLE]: "the database cannot be reached, or was too busy",
};

/** `countersign master-key`: the key that the producers' secrets are sealed under. */
export function masterKeyCommand(): Command {
  const command = createCommandGroup("master-key", [])
    .description("change the key that encrypts the producers' secrets")
    .addCommand(rotateCommand());
  return addHelp(command, {
    examples: ["countersign master-key rotate --yes"],
    exitCodes: EXIT_CODES,
  });
}

function rotateCommand(): Command {
  const command = createCommand("rotate")
    .description("seal all producers' secrets under a new master key")
    .option("--env-file <path>", "read environment variables from this file first")
    .option("--json", "print one JSON object")
    .option("--yes", "do not ask")
    // Commander would repeat the arguments that it did not expect.
    .allowExcessArguments()
    .action(async (options: RotateOptions, { args }: Command) => {
      if (args.length > 0) throw usageError(NO_ARGUMENTS);
      const { rotateMasterKey } = await import("./run.ts");
      await rotateMasterKey(options);
    });
  return addHelp(command, {
    notes: NOTES,
    examples: [
      "countersign master-key rotate --yes",
      "countersign master-key rotate --env-file /etc/countersign.env --yes --json",
    ],
    exitCodes: EXIT_CODES,
  });
}
