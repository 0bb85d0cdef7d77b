/**
 * Which request is signed or verified: the options of both commands, and its body.
 */
import { type Command, Option } from "commander";
import type { MessageName } from "./bufMessage.ts";
import { addRequiredOption } from "./command.ts";
import { readInput, readTextInput } from "./input.ts";

/** The options that {@link addRequestOptions} adds. */
export interface RequestOptions {
  readonly body: string;
  readonly endpoint: string;
  readonly message?: MessageName;
}

/** The path that is signed unless told otherwise: the RPC for a single signal. */
export const DEFAULT_ENDPOINT = "/signals.v1.IngestService/Ingest";

/** Adds the options that tell which request it is. */
export function addRequestOptions(command: Command): Command {
  return addRequiredOption(command, "--body <path>", "the request's body; - for standard input")
    .option("--endpoint <path>", "the request's path", DEFAULT_ENDPOINT)
    .addOption(
      new Option(
        "--message <name>",
        "the body is the JSON of this message, and buf curl sends it as protobuf",
      ).choices(["IngestRequest", "IngestBatchRequest"] satisfies MessageName[]),
    );
}

/**
 * The bytes of a request's body, as they are sent.
 *
 * @throws CliError if it cannot be read, or is not the JSON of the message.
 */
export async function readBody({ body, message }: RequestOptions): Promise<Uint8Array> {
  if (message === undefined) return readInput("--body", body);
  // Most bodies are signed as they are, and the schemas take long to load.
  const { bufMessage } = await import("./bufMessage.ts");
  return bufMessage(message, await readTextInput("--body", body));
}
