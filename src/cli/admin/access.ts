/**
 * Where the operations port is, and the token that is sent there.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { HiddenText, isLoopback, parseServerUrl } from "../../alerts/index.ts";
import { credentialFault, readCredential } from "../../signing/index.ts";
import { configurationError, usageError } from "../cliError.ts";
import { type Environment, readEnvFile, readEnvironment } from "../environment.ts";
import { note } from "../output.ts";
import type { AdminOptions } from "./options.ts";

/** What a call needs. */
export interface AdminAccess {
  /** Where the calls go. */
  readonly url: string;
  /** The variable that says so. */
  readonly urlVariable: UrlVariable;
  /** The public port, for bots; `undefined` if it is not told apart from the operations port. */
  readonly publicUrl: string | undefined;
  readonly token: HiddenText;
  /** The public id of the token. */
  readonly tokenId: string;
  /** Says what was taken from the local server's file, if anything was. */
  announce(): void;
}

type UrlVariable = "COUNTERSIGN_OPS_URL" | "COUNTERSIGN_URL";
const URLS: readonly UrlVariable[] = ["COUNTERSIGN_OPS_URL", "COUNTERSIGN_URL"];

/**
 * Reads it from the environment, completed by the file of the local server.
 *
 * @throws CliError if a file cannot be read, or a setting is missing or wrong. Nothing of the
 *   token is repeated.
 */
export function readAdminAccess({ adminEnvFile }: AdminOptions): AdminAccess {
  const environment = readEnvironment(adminEnvFile, "--admin-env-file");
  const path = join(environment.DATA_DIR ?? ".countersign", "admin.env");
  const { completed, announcement } = complete(environment, path);
  const urlVariable =
    completed.COUNTERSIGN_OPS_URL === undefined ? "COUNTERSIGN_URL" : "COUNTERSIGN_OPS_URL";
  const url = completed[urlVariable];
  if (url === undefined) throw usageError(NO_URL);
  const faults = [
    ...URLS.flatMap((name) => urlFault(name, completed[name])),
    ...tokenFault(completed),
  ];
  if (faults.length > 0) throw configurationError(faults);
  const token = completed.COUNTERSIGN_TOKEN ?? "";
  const reading = readCredential(token);
  return {
    url,
    urlVariable,
    publicUrl: urlVariable === "COUNTERSIGN_URL" ? undefined : completed.COUNTERSIGN_URL,
    token: new HiddenText(token),
    tokenId: reading.form === "whole" ? reading.id : "",
    announce() {
      if (announcement !== undefined) note(announcement);
    },
  };
}

const NO_URL =
  "COUNTERSIGN_OPS_URL is not set. It is the URL of the operations port, such as http://127.0.0.1:9090.";

/**
 * Adds what is not set from the file of the local server.
 *
 * @throws CliError if there is no token, or only one for another server than is wanted: a token
 *   is shown to no server but its own.
 */
function complete(
  environment: Environment,
  path: string,
): { readonly completed: Environment; readonly announcement: string | undefined } {
  const hasToken = environment.COUNTERSIGN_TOKEN !== undefined;
  if (!existsSync(path)) {
    if (hasToken) return { completed: environment, announcement: undefined };
    throw usageError(
      `There is no token: COUNTERSIGN_TOKEN is not set, and there is no file ${resolve(path)}. ` +
        "Set COUNTERSIGN_TOKEN to one with the scope admin; on a database of your own, " +
        '"countersign tokens bootstrap" makes the first.',
    );
  }
  const local = readEnvFile("The file", path);
  const other = URLS.find(
    (name) => environment[name] && !isSameUrl(environment[name], local[name]),
  );
  if (other !== undefined) {
    if (hasToken) return { completed: environment, announcement: undefined };
    throw usageError(
      `There is no token for ${other}: COUNTERSIGN_TOKEN is not set, and ${path} is for another ` +
        "server. Set COUNTERSIGN_TOKEN.",
    );
  }
  const { COUNTERSIGN_URL, COUNTERSIGN_OPS_URL, COUNTERSIGN_TOKEN } = local;
  const completed = { COUNTERSIGN_URL, COUNTERSIGN_OPS_URL, COUNTERSIGN_TOKEN, ...environment };
  const isAdded = URLS.some((name) => completed[name] !== environment[name]);
  if (!hasToken) return { completed, announcement: `using the token in ${path}` };
  return { completed, announcement: isAdded ? `using the server of ${path}` : undefined };
}

function isSameUrl(one: string, other: string | undefined): boolean {
  return other !== undefined && URL.parse(one)?.href === URL.parse(other)?.href;
}

/** As a phrase that begins with the variable's name. */
function urlFault(name: UrlVariable, text: string | undefined): string[] {
  if (text === undefined) return [];
  const verdict = parseServerUrl(text);
  if (verdict.valid) return [];
  const url = URL.parse(text);
  const isClear = url?.protocol === "http:" && !isLoopback(url.hostname);
  return [`${name} ${verdict.rule}${isClear ? CLEAR_TEXT_ADVICE : ""}`];
}

const CLEAR_TEXT_ADVICE =
  ", since whoever is on the way could take the token. Forward the port of that machine " +
  "(ssh -L 9090:127.0.0.1:9090 HOST) and set http://127.0.0.1:9090, or have a proxy in front of it " +
  "speak TLS";

function tokenFault({ COUNTERSIGN_TOKEN: token = "" }: Environment): string[] {
  const fault = credentialFault(token, "tok");
  if (fault !== undefined) return [`COUNTERSIGN_TOKEN ${fault}`];
  const isToken = readCredential(token).form === "whole";
  return isToken
    ? []
    : ["COUNTERSIGN_TOKEN is no token of Countersign's, which begins with cs_tok_"];
}
