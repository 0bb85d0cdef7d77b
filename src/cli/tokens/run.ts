/** Administers tokens over the operations port. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { TokenInfo } from "../../../gen/signals/v1/token_service_pb.ts";
import type { Scope } from "../../access/index.ts";
import { epochMs, systemClock } from "../../client/clock.ts";
import { didYouMean } from "../../signal/index.ts";
import { readCredential } from "../../signing/index.ts";
import { type Admin, allPages, openAdmin, PAGE_SIZE } from "../admin/admin.ts";
import { confirm } from "../admin/confirm.ts";
import { handOver } from "../admin/handOver.ts";
import { knownProducerIds } from "../admin/knownProducers.ts";
import type { ConfirmOptions, JsonOptions } from "../admin/options.ts";
import { requirePublicId } from "../admin/publicId.ts";
import { takeNewFile } from "../admin/secretFile.ts";
import { tokenVariables } from "../admin/tokenFile.ts";
import { failedError } from "../cliError.ts";
import { note, printable, writeJson, writeOut } from "../output.ts";
import { writeTable } from "../table.ts";
import {
  isFullAdmin,
  isLive,
  LIST_COLUMNS,
  SCOPE_BY_NAME,
  scopeNames,
  tokenJson,
  tokenRow,
} from "./format.ts";

/** The options of `tokens create`. */
export interface CreateOptions extends JsonOptions {
  readonly name: string;
  readonly scope: readonly Scope[];
  readonly producer?: readonly string[];
  /** When, in milliseconds since 1970, by a duration from now or by a time. */
  readonly expires?: { readonly inSeconds: number } | { readonly atMs: number };
  readonly envFile?: string;
}

/** The options of `tokens revoke`. */
export interface RevokeOptions extends JsonOptions, ConfirmOptions {}

/** `countersign tokens create`. */
export async function createToken(options: CreateOptions): Promise<void> {
  const { name, scope, producer = [], expires, envFile, json } = options;
  using admin = openAdmin(options);
  const file = envFile === undefined ? undefined : takeNewFile(envFile);
  try {
    const { token, info } = await admin.call(
      admin.tokens.createToken({
        name,
        scopes: scope.map((each) => SCOPE_BY_NAME[each]),
        producerIds: [...producer],
        ...(expires !== undefined && { expireTime: timestampFromMs(expiryMs(expires)) }),
      }),
      {
        doubt:
          'Whether it was made is not known: "countersign tokens list" tells. If so, it is lost; revoke it.',
      },
    );
    const reading = readCredential(token);
    const tokenId = reading.form === "whole" ? reading.id : "";
    const { url, publicUrl } = admin.access;
    const variables = tokenVariables(token, { url: publicUrl, opsUrl: url });
    const isInFile = await handOver(
      {
        name: "token",
        value: token,
        variables,
        ifLost: `Revoke it: "countersign tokens revoke ${tokenId}".`,
      },
      {
        file,
        fileText: variables,
        json,
        others: info === undefined ? {} : { info: tokenJson(info) },
      },
    );
    note(
      isInFile
        ? `${envFile} has the token ${tokenId} for ${name}: give it by a way that others cannot read`
        : `the token ${tokenId} for ${name} is shown this once: give it by a way that others cannot read`,
    );
    if (producer.length > 0) await tellUnknownProducers(admin, producer);
  } catch (error) {
    file?.discard();
    throw error;
  }
}

/** They need not be there yet, but a name that was mistyped gives a token that sees nothing. */
async function tellUnknownProducers(admin: Admin, wanted: readonly string[]): Promise<void> {
  const known = await knownProducerIds(admin);
  if (known === undefined) return;
  for (const producerId of wanted.filter((each) => !known.includes(each))) {
    note(`there is no producer ${producerId} yet${didYouMean(producerId, known)}`);
  }
}

function expiryMs(expires: NonNullable<CreateOptions["expires"]>): number {
  if ("atMs" in expires) return expires.atMs;
  return epochMs(systemClock) + expires.inSeconds * 1_000;
}

/** `countersign tokens list`. */
export async function listTokens(options: JsonOptions): Promise<void> {
  using admin = openAdmin(options);
  const tokens = await readTokens(admin);
  if (options.json === true) {
    for (const token of tokens) await writeJson(tokenJson(token));
    return;
  }
  const now = epochMs(systemClock);
  await writeTable(
    LIST_COLUMNS,
    tokens.map((token) => tokenRow(token, now).map(printable)),
  );
}

function readTokens(admin: Admin): Promise<TokenInfo[]> {
  return allPages(async (pageToken) => {
    const page = await admin.call(admin.tokens.listTokens({ pageSize: PAGE_SIZE, pageToken }));
    return { items: page.tokens, nextPageToken: page.nextPageToken };
  });
}

/** `countersign tokens revoke`. */
export async function revokeToken(tokenId: string, options: RevokeOptions): Promise<void> {
  requirePublicId(tokenId, "token", ", so do revoke it.");
  using admin = openAdmin(options);
  const tokens = await readTokens(admin);
  const token = tokens.find((each) => each.tokenId === tokenId);
  if (token === undefined) throw failedError(unknownToken(tokenId, tokens));
  const now = epochMs(systemClock);
  if (isLive(token, now)) {
    const what = whatRevokingDoes(token, tokens, admin.access.tokenId, now);
    if (options.yes === true) note(what);
    else await confirm(what, { yes: false, signal: admin.signal });
  }
  const { info } = await admin.call(admin.tokens.revokeToken({ tokenId }), {
    doubt: "Whether it was done is not known; doing it again is harmless.",
  });
  if (options.json === true) await writeJson(tokenJson(present(info)));
  else await writeOut(`${printable(`${tokenId}: revoked (${present(info).name})`)}\n`);
}

/** People know tokens by their names, so that a name leads to the ids. */
function unknownToken(wanted: string, tokens: readonly TokenInfo[]): string {
  const ids = tokens.filter(({ name }) => name === wanted).map(({ tokenId }) => tokenId);
  const meant =
    ids.length > 0
      ? ` (tokens of that name: ${ids.join(", ")})`
      : didYouMean(
          wanted,
          tokens.map(({ tokenId }) => tokenId),
        );
  return `There is no token ${wanted} that this token may see${meant}. "countersign tokens list" shows them.`;
}

function whatRevokingDoes(
  token: TokenInfo,
  tokens: readonly TokenInfo[],
  ownId: string,
  nowMs: number,
): string {
  const { tokenId, name } = token;
  const isOwn = tokenId === ownId;
  const admins = tokens.filter((each) => isFullAdmin(each) && isLive(each, nowMs));
  const isLastAdmin = isFullAdmin(token) && admins.length === 1;
  return [
    `This ends the token ${tokenId} of ${name} (${scopeNames(token).join(", ")}) at once.`,
    ...(isOwn ? ["It is the one that you are using."] : []),
    ...(isLastAdmin
      ? [
          "It is the last one that administers everything: another then takes " +
            '"countersign tokens bootstrap" on the database.',
        ]
      : []),
  ].join(" ");
}

/** A message that each answer has. */
function present(info: TokenInfo | undefined): TokenInfo {
  if (info === undefined) throw new Error("The server's answer has no token.");
  return info;
}
