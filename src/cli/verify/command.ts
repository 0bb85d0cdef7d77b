import type { Command } from "commander";
import { EXIT_FAILED, EXIT_OK, EXIT_USAGE } from "../cliError.ts";
import { addHelp, createCommand } from "../command.ts";
import { addCredentialOptions, CREDENTIALS_HELP } from "../credentials.ts";
import { addRequestOptions } from "../request.ts";
import type { VerifyOptions } from "./run.ts";

const NOTES = `Judges as the server does, and if the signature is wrong, looks for the mistake: it tries
the usual ones, one at a time, until the signature fits. With the string to sign of
your own program it also shows each line in which the two differ.

Whether the timestamp is fresh is told, but not judged.

${CREDENTIALS_HELP}`;

/** `countersign verify`: tells whether a request is signed rightly, and if not, why. */
export function verifyCommand(): Command {
  const command = createCommand("verify").description(
    "check a signature, and find out why it is wrong",
  );
  addRequestOptions(command)
    .option("--headers <path>", "the request's headers, as they are sent, one a line")
    .option("--timestamp <time>", "the x-timestamp header")
    .option("--signature <base64>", "the x-signature header")
    .option("--string-to-sign <path>", "what your program signed")
    .option("--json", "print one JSON object");
  addCredentialOptions(command).action(async (options: VerifyOptions) => {
    const { verifyRequest } = await import("./run.ts");
    await verifyRequest(options);
  });
  return addHelp(command, {
    notes: NOTES,
    examples: [
      "countersign verify --body body.json --headers headers.txt",
      "countersign verify --body body.json --producer-id bot-1 \\",
      "  --timestamp 2025-10-25T14:30:45Z \\",
      "  --signature YWih6rd67ase43tjRQgrGSNp9vxdkmdPEVDv2g4HPtc=",
      "countersign verify --body body.json --headers headers.txt \\",
      "  --string-to-sign mine.txt",
    ],
    exitCodes: {
      [EXIT_OK]: "the signature is valid",
      [EXIT_FAILED]: "the signature is not valid",
      [EXIT_USAGE]: "the command line, a file or the secret is wrong",
    },
  });
}
