import { readInput, readTextInput } from "./input.ts";
import type { MessageName } from "./messageNames.ts";

/** The option of a body, and how to read it. */
export interface BodyOptions {
  readonly body: string;
  readonly message?: MessageName;
}

/**
 * The bytes of a request's body, as they are sent.
 *
 * @throws CliError if it cannot be read, or is not the JSON of the message.
 */
export async function readBody({ body, message }: BodyOptions): Promise<Uint8Array> {
  if (message === undefined) return readInput("--body", body);
  // Loaded only here, since most bodies are signed as they are.
  const { bufMessage } = await import("./bufMessage.ts");
  return bufMessage(message, await readTextInput("--body", body));
}
