import type { Command } from "commander";
import { addAdminHelp } from "../admin/options.ts";
import { createCommand, createCommandGroup, parseInteger } from "../command.ts";
import type { ListOptions } from "./run.ts";

/** `countersign audit`: who changed what, and when. */
export function auditCommand(): Command {
  const command = createCommandGroup("audit", [])
    .description("see who changed what, and when")
    .addCommand(listCommand());
  return addAdminHelp(command, {
    examples: ["countersign audit list"],
  });
}

function listCommand(): Command {
  const command = createCommand("list")
    .description("show what was done and refused, the newest last")
    .option("--producer <id>", "only what concerns this producer")
    .option("--token <token-id>", "only what was done by this token, or with it")
    .option("--action <name>", "only this, such as producer.update, or producer for all of them")
    .option("--limit <n>", "how many at most, the newest (50)", parseInteger(1, 100_000))
    .option("--json", "print one JSON object a line")
    .action(async (options: ListOptions) => {
      const { listAudit } = await import("./run.ts");
      await listAudit(options);
    });
  return addAdminHelp(command, {
    examples: [
      "countersign audit list",
      "countersign audit list --producer gold-bot --action producer_secret",
      "countersign audit list --json | jq 'select(.reason != \"\")'",
    ],
  });
}
