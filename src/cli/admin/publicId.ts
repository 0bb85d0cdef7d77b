import { readCredential } from "../../signing/index.ts";
import { usageError } from "../cliError.ts";

/**
 * Makes sure that an argument is the public id of a secret or a token.
 *
 * @param advice what to do about one that now is in the history of the shell, as the end of a
 *   sentence.
 * @throws CliError if the secret or the token itself is given in place of its id.
 */
export function requirePublicId(argument: string, what: "secret" | "token", advice: string): void {
  const reading = readCredential(argument);
  if (reading.form === "foreign") return;
  const id = reading.form === "whole" ? ` (${reading.id})` : "";
  throw usageError(
    `Give the id of the ${what}${id}, and not the ${what} itself: it now is in the history of this ` +
      `shell, and other users could read it${advice}`,
  );
}
