import { type Command, Option } from "commander";
import { MESSAGE_NAMES, type MessageName } from "./messageNames.ts";

/** Which request is signed or verified, besides its body. */
export interface RequestOptions {
  readonly endpoint: string;
  readonly message?: MessageName;
}

/** The path that is signed unless told otherwise: the RPC for a single signal. */
export const DEFAULT_ENDPOINT = "/signals.v1.IngestService/Ingest";

/** Adds the options that tell which request it is. */
export function addRequestOptions(command: Command): Command {
  return command
    .option("--endpoint <path>", "the request's path", DEFAULT_ENDPOINT)
    .addOption(
      new Option(
        "--message <name>",
        "the body is the JSON of this message, and buf curl sends it as protobuf",
      ).choices(MESSAGE_NAMES),
    );
}
