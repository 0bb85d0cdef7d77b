import { type Command, InvalidArgumentError } from "commander";
import { SCOPES, type Scope } from "../../access/index.ts";
import { didYouMean } from "../../signal/index.ts";
import { parseTimestamp } from "../../signing/index.ts";
import {
  addAdminEnvFile,
  addAdminHelp,
  type JsonOptions,
  parseDuration,
  parseList,
} from "../admin/options.ts";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE } from "../cliError.ts";
import { addHelp, addRequiredOption, createCommand, createCommandGroup } from "../command.ts";
import type { BootstrapOptions } from "./bootstrap.ts";
import type { CreateOptions, RevokeOptions } from "./run.ts";

/** `countersign tokens`: who may read, review and administer. */
export function tokensCommand(): Command {
  const command = createCommandGroup("tokens", ["revoke"])
    .description("say who may read, review and administer")
    .addCommand(createTokenCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
    .addCommand(bootstrapCommand());
  return addAdminHelp(command, {
    examples: [
      "countersign tokens create --name alice --scope read,review --expires 90d",
      "countersign tokens list",
    ],
  });
}

const SHOWN_ONCE = `--env-file writes COUNTERSIGN_TOKEN, COUNTERSIGN_URL and COUNTERSIGN_OPS_URL, for you alone
to read. Without it they are printed. The token is shown this once: the server keeps only its
hash.`;

function createTokenCommand(): Command {
  const command = createCommand("create").description("make a token");
  addRequiredOption(command, "--name <name>", "whose it is; the audit tells it");
  addRequiredOption(command, "--scope <list>", `what it allows: ${SCOPES.join(",")}`, parseScopes)
    .option("--producer <list>", "the producers beyond which it sees nothing (all)", parseList)
    .option("--expires <when>", "after a time such as 30d, or at one (never)", parseExpiry)
    .option("--env-file <path>", "write it to this new file")
    .option("--json", "print a JSON object")
    .action(async (options: CreateOptions) => {
      const { createToken } = await import("./run.ts");
      await createToken(options);
    });
  return addAdminHelp(command, {
    notes: [SHOWN_ONCE],
    examples: [
      "countersign tokens create --name alice --scope read,review --expires 90d",
      "countersign tokens create --name desk --scope admin \\",
      "  --producer gold-bot,fx-bot --env-file desk.env",
      "countersign tokens create --name ci --scope read \\",
      "  --expires 2027-01-01T00:00:00Z --env-file ci.env",
    ],
  });
}

function parseScopes(text: string): Scope[] {
  return parseList(text).map((name) => {
    const scope = SCOPES.find((each) => each === name);
    if (scope !== undefined) return scope;
    const rule = `Allowed are ${SCOPES.join(", ")}`;
    throw new InvalidArgumentError(`${rule}${didYouMean(name, SCOPES)}.`);
  });
}

/** Takes a time from now, or RFC 3339. */
function parseExpiry(text: string): CreateOptions["expires"] {
  const instant = parseTimestamp(text);
  if (instant !== undefined) return { atMs: Number(instant / 1_000_000n) };
  try {
    return { inSeconds: parseDuration(text) };
  } catch {
    throw new InvalidArgumentError(
      "It must be a time from now such as 12h or 30d, or one such as 2027-01-01T00:00:00Z.",
    );
  }
}

function listCommand(): Command {
  const command = createCommand("list")
    .description("list all tokens, the newest first, ended ones too")
    .option("--json", "print one JSON object a line")
    .action(async (options: JsonOptions) => {
      const { listTokens } = await import("./run.ts");
      await listTokens(options);
    });
  return addAdminHelp(command, {
    examples: [
      "countersign tokens list",
      "countersign tokens list --json | jq -r 'select(.name == \"alice\").token_id'",
    ],
  });
}

function revokeCommand(): Command {
  const command = createCommand("revoke")
    .description("end a token at once")
    .argument("<token-id>", 'its id, as "tokens list" tells it, and not the token')
    .option("--yes", "do not ask")
    .option("--json", "print a JSON object")
    .action(async (tokenId: string, options: RevokeOptions) => {
      const { revokeToken } = await import("./run.ts");
      await revokeToken(tokenId, options);
    });
  return addAdminHelp(command, {
    examples: ["countersign tokens revoke 3KfVz0aQ9LpX"],
  });
}

function bootstrapCommand(): Command {
  const command = createCommand("bootstrap")
    .description("make the first token, on the database itself")
    .option("--force", "also while there is a live token that may do everything")
    .option("--env-file <path>", "write it to this new file")
    .option("--yes", "do not ask before --force")
    .option("--json", "print a JSON object")
    .action(async (options: BootstrapOptions) => {
      const { bootstrapToken } = await import("./bootstrap.ts");
      await bootstrapToken(options);
    });
  return addHelp(addAdminEnvFile(command), {
    notes: `The token has all scopes, for all producers, and does not expire. The database is the one of
DATABASE_URL, or, if that is unset, the embedded one under DATA_DIR (.countersign), whose
first start has already written such a token to admin.env. Servers may run meanwhile.

${SHOWN_ONCE} Of the two URLs, those that are set are written, too.`,
    examples: [
      "countersign tokens bootstrap --env-file admin.env",
      "countersign tokens bootstrap --force --admin-env-file /etc/countersign.env",
    ],
    exitCodes: {
      [EXIT_OK]: "done",
      [EXIT_FAILED]: "there is such a token already, or the database refused it",
      [EXIT_USAGE]: "the command line, a variable or a file is wrong, or --yes is missing",
      [EXIT_UNAVAILABLE]: "the database cannot be reached",
    },
  });
}
