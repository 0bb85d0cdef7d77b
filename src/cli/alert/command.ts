import type { Command } from "commander";
import { EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE } from "../cliError.ts";
import { addHelp, createCommand } from "../command.ts";
import type { AlertTestOptions } from "./run.ts";

const NOTES = `Environment:
  TELEGRAM_BOT_TOKEN  the token of the bot that writes to you
  TELEGRAM_CHAT_ID    the chat that it writes to; the two go together
  TELEGRAM_API_ROOT   a Bot API server of your own (https://api.telegram.org)
  ALERT_WEBHOOK_URL   takes alerts as JSON with kind, text, time and host;
                      https, or http to this machine

To get a token, send /newbot to @BotFather in Telegram. To get the chat's id, send any message
to your new bot, or add it to a group and write /start there. Then this shows the id as
"chat":{"id":...}; a group's is negative:

  printf 'url = "https://api.telegram.org/bot%s/getUpdates"\\n' \\
    "$TELEGRAM_BOT_TOKEN" | curl -sK -

A bot cannot write to a person who has never written to it.`;

const EXAMPLES = [
  "countersign alert test",
  "countersign alert test --env-file /etc/countersign.env --json",
];

const EXIT_CODES = {
  [EXIT_OK]: "every channel took the alert",
  [EXIT_FAILED]: "a channel refused it: the token, the chat or the URL is wrong",
  [EXIT_USAGE]: "the command line or a variable is wrong, or no channel is configured",
  [EXIT_UNAVAILABLE]: "a channel cannot be reached or asks for patience; try again",
};

/** `countersign alert`: what concerns the alerts that the client sends to people. */
export function alertCommand(): Command {
  const command = createCommand("alert")
    .description("try the channels over which the client alerts people")
    .addCommand(testCommand());
  return addHelp(command, { notes: NOTES, examples: EXAMPLES, exitCodes: EXIT_CODES });
}

function testCommand(): Command {
  const command = createCommand("test")
    .description("send a test alert over every channel that is configured")
    .option("--env-file <path>", "read environment variables from this file first")
    .option("--json", "print one JSON object a line")
    .action(async (options: AlertTestOptions) => {
      const { testAlerts } = await import("./run.ts");
      await testAlerts(options);
    });
  return addHelp(command, { notes: NOTES, examples: EXAMPLES, exitCodes: EXIT_CODES });
}
