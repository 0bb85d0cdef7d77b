/** Judges a signature and prints the verdict. */
import { systemClock } from "../../client/clock.ts";
import { formatTimestamp, parseTimestamp } from "../../signing/index.ts";
import { EXIT_FAILED, usageError } from "../cliError.ts";
import { type CredentialOptions, producerEnvironment, secretOf } from "../credentials.ts";
import { readTextInput } from "../input.ts";
import { note, printable, writeJson, writeOut } from "../output.ts";
import { DEFAULT_ENDPOINT, type RequestOptions, readBody } from "../request.ts";
import { compareStringsToSign, type Diagnosis, diagnose, type LineDifference } from "./diagnose.ts";
import { parseRequestHead, type RequestHead } from "./headers.ts";

/** The options of `countersign verify`. */
export interface VerifyOptions extends CredentialOptions, RequestOptions {
  readonly headers?: string;
  readonly timestamp?: string;
  readonly signature?: string;
  readonly stringToSign?: string;
  readonly json?: boolean;
}

/** @throws CliError if a file cannot be read, or a header is missing. */
export async function verifyRequest(options: VerifyOptions): Promise<void> {
  const head = await readHead(options);
  const producerId = options.producerId ?? head.producerId;
  const { environment, announce } = await producerEnvironment({
    ...options,
    ...(producerId !== undefined && { producerId }),
  });
  // The secret's text is needed to try what else may have been made of it.
  secretOf(environment);
  const secret = environment.HMAC_PRODUCER_SECRET as string;
  const request = {
    endpoint: head.endpoint ?? options.endpoint,
    timestamp: required(options.timestamp ?? head.timestamp, "--timestamp", "x-timestamp"),
    producerId: required(
      producerId ?? (options.headers === undefined ? environment.PRODUCER_ID : undefined),
      "--producer-id",
      "x-producer-id",
    ),
    body: await readBody(options),
  };
  const signature = required(options.signature ?? head.signature, "--signature", "x-signature");
  const ownStringToSign =
    options.stringToSign === undefined
      ? undefined
      : await readTextInput("--string-to-sign", options.stringToSign);
  announce();

  const diagnosis = withRepeated(
    diagnose({ secret, request, signature, ownStringToSign, host: head.host }),
    head,
  );
  const differences =
    ownStringToSign === undefined
      ? []
      : compareStringsToSign(diagnosis.stringToSign, ownStringToSign, request.body);
  const { valid, stringToSign, findings } = diagnosis;
  if (options.json === true) {
    await writeJson({ valid, string_to_sign: stringToSign, findings, differences });
  } else await printText(diagnosis, differences);
  tellAge(request.timestamp);
  if (!valid) process.exitCode = EXIT_FAILED;
}

async function readHead({ headers, endpoint }: VerifyOptions): Promise<RequestHead> {
  const head = parseRequestHead(
    headers === undefined ? "" : await readTextInput("--headers", headers),
  );
  // The path of a request line serves unless another one is asked for.
  return endpoint === DEFAULT_ENDPOINT ? head : { ...head, endpoint };
}

function required(value: string | undefined, option: string, header: string): string {
  if (value !== undefined) return value;
  throw usageError(`There is no ${header}. Give ${option}, or --headers with a file that has it.`);
}

/** A header that is there twice is refused, however right its values are. */
function withRepeated(diagnosis: Diagnosis, { repeated }: RequestHead): Diagnosis {
  if (repeated.length === 0) return diagnosis;
  const findings = repeated.map((name) => `The header ${name} is there more than once.`);
  return { ...diagnosis, valid: false, findings: [...findings, ...diagnosis.findings] };
}

async function printText(
  { valid, stringToSign, findings }: Diagnosis,
  differences: readonly LineDifference[],
): Promise<void> {
  if (valid) return await writeOut("valid\n");
  const sections = [
    "invalid",
    section("The right string to sign, without a newline at its end:", stringToSign.split("\n")),
    ...differences.map(describeDifference),
    ...(findings.length > 0 ? [section("What is wrong:", findings)] : []),
  ];
  await writeOut(`${sections.join("\n\n")}\n`);
}

function section(title: string, lines: readonly string[]): string {
  return [title, ...lines.map((line) => `  ${printable(line)}`)].join("\n");
}

function describeDifference({ line, expected, actual, hint }: LineDifference): string {
  return section(`Line ${line} differs:`, [
    `right: ${expected ?? "(no such line)"}`,
    `yours: ${actual ?? "(no such line)"}`,
    ...(hint === undefined ? [] : [hint]),
  ]);
}

const FRESH_SECONDS = 300n;

/** A signature may be right and yet come too late. */
function tellAge(timestamp: string): void {
  const instant = parseTimestamp(timestamp);
  if (instant === undefined) return;
  const now = systemClock.now();
  const ageSeconds = (now - instant) / 1_000_000_000n;
  if (ageSeconds >= -FRESH_SECONDS && ageSeconds <= FRESH_SECONDS) return;
  const distance = ageSeconds > 0n ? `${ageSeconds} s ago` : `${-ageSeconds} s ahead`;
  note(
    `the timestamp is ${distance} by the clock of this machine, which shows ${formatTimestamp(now)}; ` +
      `a server takes at most ${FRESH_SECONDS} s by its own clock, and else answers CLOCK_SKEW`,
  );
}
