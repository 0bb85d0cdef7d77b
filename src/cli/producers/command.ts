import type { Command } from "commander";
import {
  addAdminHelp,
  type JsonOptions,
  parseDuration,
  parseFlag,
  parseList,
} from "../admin/options.ts";
import { createCommand, createCommandGroup, parseInteger } from "../command.ts";
import type { CreateOptions, RevokeOptions, RotateOptions, UpdateOptions } from "./run.ts";

/** What cannot be undone, or stops a bot, is suggested to nobody. */
const UNSUGGESTED = ["revoke", "rotate", "disable"];

/** `countersign producers`: who may send signals. */
export function producersCommand(): Command {
  const command = createCommandGroup("producers", UNSUGGESTED)
    .description("say who may send signals, and with which secret")
    .addCommand(createProducerCommand())
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(updateCommand())
    .addCommand(rotateCommand())
    .addCommand(revokeCommand())
    .addCommand(disableCommand())
    .addCommand(enableCommand());
  return addAdminHelp(command, {
    examples: [
      "countersign producers create gold-bot --env-file gold-bot.env",
      "countersign producers list",
    ],
  });
}

const WRITES_FILE = `--env-file writes what the bot needs, for you alone to read: PRODUCER_ID,
HMAC_PRODUCER_SECRET and, from COUNTERSIGN_URL, OUTBOUND_SERVER_URL. Without it the secret is
printed. It is shown this once: the server gives it to nobody again.`;

function createProducerCommand(): Command {
  const command = createCommand("create")
    .description("make a producer with its first secret")
    .argument("<id>", "its name, which never changes, such as gold-bot")
    .option("--display-name <text>", "a name for people")
    .option("--require-approval", "hold its signals until a person approves them");
  addLimits(command)
    .option("--env-file <path>", "write what the bot needs to this new file")
    .option("--json", "print a JSON object")
    .action(async (id: string, options: CreateOptions) => {
      const { createProducer } = await import("./run.ts");
      await createProducer(id, options);
    });
  return addAdminHelp(command, {
    notes: [`${WRITES_FILE} A file that is there is never overwritten.`],
    examples: [
      "countersign producers create gold-bot --env-file gold-bot.env",
      "countersign producers create fx-bot --rate-limit 10 \\",
      "  --instruments EURUSD,GBPUSD --require-approval",
      "(umask 077; countersign producers create fx-bot --json > fx-bot.json)",
    ],
  });
}

function addLimits(command: Command): Command {
  return command
    .option("--rate-limit <n>", "signals a second, and at most at once, or none", parseLimit)
    .option("--instruments <list>", "which it may signal, such as GOLD,EURUSD, or all", (text) =>
      text === "all" ? [] : parseList(text),
    );
}

const RATE_LIMIT_MAX = 1_000_000;

function parseLimit(text: string): number {
  return text === "none" ? 0 : parseInteger(1, RATE_LIMIT_MAX)(text);
}

function listCommand(): Command {
  const command = createCommand("list")
    .description("list all producers")
    .option("--json", "print one JSON object a line")
    .action(async (options: JsonOptions) => {
      const { listProducers } = await import("./run.ts");
      await listProducers(options);
    });
  return addAdminHelp(command, {
    examples: [
      "countersign producers list",
      "countersign producers list --json | jq -r 'select(.enabled).producer_id'",
    ],
  });
}

function showCommand(): Command {
  const command = createCommand("show")
    .description("show one producer, and what is known of its secrets")
    .argument("<id>", "the producer")
    .option("--json", "print a JSON object")
    .action(async (id: string, options: JsonOptions) => {
      const { showProducer } = await import("./run.ts");
      await showProducer(id, options);
    });
  return addAdminHelp(command, {
    examples: [
      "countersign producers show gold-bot",
      "countersign producers show gold-bot --json | jq -r .last_seen_time",
    ],
  });
}

function updateCommand(): Command {
  const command = createCommand("update")
    .description("change settings of a producer, within a second")
    .argument("<id>", "the producer")
    .option("--display-name <text>", "a name for people; empty for none")
    .option(
      "--require-approval <flag>",
      "true holds its signals until a person approves them",
      parseFlag,
    );
  addLimits(command)
    .option("--json", "print a JSON object")
    .action(async (id: string, options: UpdateOptions) => {
      const { updateProducer } = await import("./run.ts");
      await updateProducer(id, options);
    });
  return addAdminHelp(command, {
    notes: [`What is not given stays as it is.`],
    examples: [
      "countersign producers update gold-bot --rate-limit 50",
      "countersign producers update gold-bot --rate-limit none --instruments all",
      "countersign producers update gold-bot --require-approval true",
    ],
  });
}

function rotateCommand(): Command {
  const command = createCommand("rotate")
    .description("give a producer a new secret, without downtime")
    .argument("<id>", "the producer")
    .option(
      "--grace <time>",
      "how long the secret before still signs, 0 to 7d (24h)",
      parseDuration,
    )
    .option("--force", "even while the secret before the last one still signs")
    .option("--env-file <path>", "put the secret into this file, or write a new one")
    .option("--yes", "do not ask before --force or --grace 0")
    .option("--json", "print a JSON object")
    .action(async (id: string, options: RotateOptions) => {
      const { rotateSecret } = await import("./run.ts");
      await rotateSecret(id, options);
    });
  return addAdminHelp(command, {
    notes: [
      `Both secrets sign until the older one ends: give the bot the new one before that.

${WRITES_FILE} In a file that is there, only the secret is replaced.`,
    ],
    examples: [
      "countersign producers rotate gold-bot --env-file gold-bot.env",
      "countersign producers rotate gold-bot --grace 7d",
      "countersign producers rotate gold-bot --grace 0 --yes",
    ],
  });
}

function revokeCommand(): Command {
  const command = createCommand("revoke")
    .description("end a secret of a producer at once")
    .argument("<id>", "the producer")
    .argument("<secret-id>", 'the id of the secret, as "producers show" tells it')
    .option("--yes", "do not ask")
    .option("--json", "print a JSON object")
    .action(async (id: string, secretId: string, options: RevokeOptions) => {
      const { revokeSecret } = await import("./run.ts");
      await revokeSecret(id, secretId, options);
    });
  return addAdminHelp(command, {
    examples: ["countersign producers revoke gold-bot 3KfVz0aQ9LpX"],
  });
}

function disableCommand(): Command {
  const command = createCommand("disable")
    .description("refuse all requests of a producer, until it is enabled")
    .argument("<id>", "the producer")
    .option("--json", "print a JSON object")
    .action(async (id: string, options: JsonOptions) => {
      const { disableProducer } = await import("./run.ts");
      await disableProducer(id, options);
    });
  return addAdminHelp(command, {
    notes: [`Its secrets and its signals stay.`],
    examples: ["countersign producers disable gold-bot"],
  });
}

function enableCommand(): Command {
  const command = createCommand("enable")
    .description("take the requests of a producer again")
    .argument("<id>", "the producer")
    .option("--json", "print a JSON object")
    .action(async (id: string, options: JsonOptions) => {
      const { enableProducer } = await import("./run.ts");
      await enableProducer(id, options);
    });
  return addAdminHelp(command, {
    examples: ["countersign producers enable gold-bot"],
  });
}
