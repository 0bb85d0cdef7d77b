import { type Command, Option } from "commander";
import { EXIT_OK, EXIT_USAGE } from "../cliError.ts";
import { addHelp, createCommand } from "../command.ts";
import { addCredentialOptions, CREDENTIALS_HELP } from "../credentials.ts";
import { addRequestOptions } from "../request.ts";
import type { HeaderFormat, SignOptions } from "./run.ts";

const HEADER_FORMATS = ["curl", "headers", "curl-config", "json"] satisfies HeaderFormat[];

const NOTES = `The body is signed as it is, byte by byte, so send it as it is: with curl by --data-binary,
not by -d, which takes newlines away. A signature is good for 300 seconds
around the time that it was made, by the clock of the server.

buf curl turns its JSON into protobuf before it sends it, by any protocol. For it, name the
message: --message IngestRequest signs the bytes that buf curl makes of the same JSON file.

Formats:
  curl         -H options on one line, quoted for "eval"
  headers      one header a line, for -H @- of curl and of buf curl
  curl-config  for -K - of curl
  json         one JSON object

${CREDENTIALS_HELP}`;

/** `countersign sign`: prints the headers of a signed request. */
export function signCommand(): Command {
  const command = createCommand("sign").description("print the headers that sign a request");
  addRequestOptions(command)
    .option("--timestamp <time>", "RFC 3339, such as 2025-10-25T14:30:45.123Z (now)")
    .addOption(
      new Option("--format <format>", "how to print them").choices(HEADER_FORMATS).default("curl"),
    )
    .option("--json", "the same as --format json");
  addCredentialOptions(command).action(async (options: SignOptions) => {
    const { printSignature } = await import("./run.ts");
    await printSignature(options);
  });
  return addHelp(command, {
    notes: NOTES,
    examples: [
      "countersign sign --body body.json --format headers |",
      "  curl -H @- -H 'content-type: application/json' --data-binary @body.json \\",
      "    http://127.0.0.1:8080/signals.v1.IngestService/Ingest",
      "",
      `eval "curl $(countersign sign --body body.json --endpoint /api/v1/signals)" \\`,
      "  -H content-type:application/json --data-binary @body.json \\",
      "  http://127.0.0.1:8080/api/v1/signals",
      "",
      "countersign sign --body body.json --message IngestRequest --format headers |",
      "  buf curl --schema proto --protocol grpc --http2-prior-knowledge \\",
      "    -H @- -d @body.json \\",
      "    http://127.0.0.1:8080/signals.v1.IngestService/Ingest",
    ],
    exitCodes: {
      [EXIT_OK]: "signed",
      [EXIT_USAGE]: "the command line, a file or the secret is wrong",
    },
  });
}
