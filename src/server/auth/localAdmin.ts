/**
 * The first token of a server on its embedded database: it is in a file, so that whoever owns
 * the data directory can administer at once.
 */
import { hash } from "node:crypto";
import { join } from "node:path";
import { parseEnv } from "node:util";
import type { Logger } from "pino";
import type { AccessStore } from "../../access/index.ts";
import { HiddenText } from "../../alerts/index.ts";
import { generateCredential, readCredential } from "../../signing/index.ts";
import { readIfThere, replaceFile, withVariable } from "./envFile.ts";

/** What the store is asked. */
type TokenStore = Pick<
  AccessStore,
  "getToken" | "bootstrapToken" | "revokeToken" | "listAuditEntries"
>;

/** Where a server can be reached from this machine; `undefined` if it cannot know that. */
export interface LocalUrls {
  /** Of the public port. */
  readonly url: string | undefined;
  /** Of the operations port. */
  readonly opsUrl: string | undefined;
}

const NAME = "local-admin";
const ACTOR_NAME = "countersign serve";
const STORE_TIMEOUT_MS = 10_000;
/** More of them than ever were made, if nobody deletes the file every day. */
const EARLIER_MAX = 100;

/** Where the first token is. */
export function localAdminFile(dataDir: string): string {
  return join(dataDir, "admin.env");
}

/**
 * Makes sure of the token in the file, or of a new one. A token that the database does not know
 * is made known to it: whoever can write the file owns that database. One that was revoked
 * stays so.
 *
 * @returns the token to write; `undefined` if the file is to stay as it is.
 * @throws StoreUnavailableError
 */
export async function ensureLocalAdmin(
  dataDir: string,
  store: TokenStore,
  log: Pick<Logger, "warn">,
): Promise<HiddenText | undefined> {
  const file = localAdminFile(dataDir);
  const text = parseEnv(await readIfThere(file)).COUNTERSIGN_TOKEN || undefined;
  if (text === undefined) return makeAnother(store, file, log);
  const reading = readCredential(text);
  if (reading.form !== "whole" || reading.kind !== "tok") {
    log.warn(
      { file },
      "COUNTERSIGN_TOKEN in this file is no whole token: put it right there, or delete the file and start again for a new one",
    );
    return undefined;
  }
  const { id: tokenId } = reading;
  const known = await store.getToken(tokenId, STORE_TIMEOUT_MS);
  if (known === undefined) return makeKnown(text, tokenId, store, file, log);
  if (known.revokeTime !== undefined) {
    log.warn(
      { file, token_id: tokenId },
      "the token in this file was revoked: delete the file and start again for a new one",
    );
  }
  return new HiddenText(text);
}

/** In place of the tokens that were in the file before, which nobody can have any more. */
async function makeAnother(store: TokenStore, file: string, log: Pick<Logger, "warn">) {
  await revokeEarlier(store);
  const { id, text } = generateCredential("tok");
  return makeKnown(text, id, store, file, log);
}

async function makeKnown(
  text: string,
  tokenId: string,
  store: TokenStore,
  file: string,
  log: Pick<Logger, "warn">,
): Promise<HiddenText | undefined> {
  const token = { tokenId, tokenSha256: hash("sha256", text, "buffer"), name: NAME };
  const outcome = await store.bootstrapToken(token, true, ACTOR_NAME, STORE_TIMEOUT_MS);
  if (outcome === "done") return new HiddenText(text);
  log.warn({ file }, "there are as many tokens as there may be: no token was made for this file");
  return undefined;
}

async function revokeEarlier(store: TokenStore): Promise<void> {
  const filter = {
    within: undefined,
    producerId: undefined,
    tokenId: undefined,
    action: "token.bootstrap",
  };
  const page = { size: EARLIER_MAX, after: undefined };
  const { items } = await store.listAuditEntries(filter, page, STORE_TIMEOUT_MS);
  for (const { actor, tokenId } of items) {
    if (actor.name !== ACTOR_NAME || tokenId === undefined) continue;
    await store.revokeToken(tokenId, { tokenId: undefined, name: ACTOR_NAME }, STORE_TIMEOUT_MS);
  }
}

/**
 * Writes the token with the URLs of now, readable by its owner only.
 *
 * @param isOtherNamed whether the file names another server of this directory that lives: then
 *   it stays as it is, unless the token is new.
 */
export async function writeLocalAdmin(
  dataDir: string,
  token: HiddenText,
  { url, opsUrl }: LocalUrls,
  isOtherNamed: boolean,
): Promise<void> {
  const path = localAdminFile(dataDir);
  const before = await readIfThere(path);
  const isKnown = parseEnv(before).COUNTERSIGN_TOKEN === token.reveal();
  if (isKnown && isOtherNamed) return;
  const fresh = [
    "# A token that may do everything on this server: administer, read and review. Keep it private.",
    `COUNTERSIGN_TOKEN=${token.reveal()}`,
    "",
  ].join("\n");
  const withUrl = withVariable(
    isKnown ? before : fresh,
    "COUNTERSIGN_URL",
    url,
    "the https URL of this server",
  );
  const text = withVariable(
    withUrl,
    "COUNTERSIGN_OPS_URL",
    opsUrl,
    "the URL of the operations port, if it has one: see OPS_PORT",
  );
  if (text !== before) await replaceFile(path, text);
}
