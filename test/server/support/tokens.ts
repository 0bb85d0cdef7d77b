/** Tokens of all kinds, put into a database, and the generated clients that call with them. */
import { hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { BadRequestSchema, ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import type { Scope } from "../../../src/access/index.ts";
import type { KnownToken } from "../../../src/server/auth/accessDirectory.ts";
import { generateCredential } from "../../../src/signing/index.ts";
import { createAccessStore, openDatabase } from "../../../src/store/index.ts";
import { silentLog } from "../../support/postgres.ts";

/** A token that a test made. */
export interface TestToken extends KnownToken {
  readonly text: string;
  /** In nanoseconds since 1970. */
  readonly expireTime: bigint | undefined;
}

/** A token that may administer everything, but for what a test cares about. */
export function aToken(
  parts: {
    readonly name?: string;
    readonly scopes?: readonly Scope[];
    readonly producerIds?: readonly string[];
    readonly expireTime?: bigint;
  } = {},
): TestToken {
  const { id, text } = generateCredential("tok");
  return {
    tokenId: id,
    text,
    tokenSha256: hash("sha256", text, "buffer"),
    name: parts.name ?? "alice",
    scopes: parts.scopes ?? ["admin"],
    producerIds: parts.producerIds,
    expireTime: parts.expireTime,
    standing: { isGood: true },
  };
}

/** A token of this id whose checksum is right, and whose random part is another's. */
export function forgedWithId(id: string): string {
  const body = generateCredential("tok")
    .text.slice(0, -6)
    .replace(/^cs_tok_[^_]+/, `cs_tok_${id}`);
  return body + checksum(body);
}

/** CRC-32 in base 62, six digits. */
function checksum(body: string): string {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  let rest = crc32(body);
  let text = "";
  for (let at = 0; at < 6; at++) {
    text = digits[rest % 62] + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}

const ACTOR = { tokenId: undefined, name: "a test" };
const TIMEOUT_MS = 10_000;

/** Puts tokens into a database. A server that runs knows them within a second. */
export async function addTokens(databaseUrl: string, tokens: readonly TestToken[]): Promise<void> {
  const database = openDatabase({ url: databaseUrl, poolSize: 1, log: silentLog });
  const store = createAccessStore(database);
  for (const token of tokens) await store.createToken(token, ACTOR, TIMEOUT_MS);
  await database.close();
}

/** One way for a generated client to call. */
export interface ClientForm {
  readonly name: string;
  readonly open: (
    baseUrl: string,
    interceptors: Interceptor[],
  ) => ReturnType<typeof createConnectTransport>;
}

const TRANSPORTS = {
  gRPC: createGrpcTransport,
  "gRPC-Web": createGrpcWebTransport,
  Connect: createConnectTransport,
} as const;

/** All forms that a call can have, by the clients that are generated from the contract. */
export const CLIENT_FORMS: readonly ClientForm[] = Object.entries(TRANSPORTS).flatMap(
  ([protocol, create]) =>
    (protocol === "gRPC" ? (["2"] as const) : (["1.1", "2"] as const)).flatMap((httpVersion) =>
      [true, false].map((useBinaryFormat) => ({
        name: `${protocol} ${useBinaryFormat ? "binary" : "JSON"} over HTTP/${httpVersion}`,
        open: (baseUrl: string, interceptors: Interceptor[]) =>
          // The types of the three differ where the HTTP version does.
          create({ baseUrl, httpVersion, useBinaryFormat, interceptors } as never),
      })),
    ),
);

/** A generated client that sends this token. */
export function clientOf<Service extends DescService>(
  service: Service,
  opsUrl: string | undefined,
  token: Pick<TestToken, "text">,
  form: ClientForm = CLIENT_FORMS[0] as ClientForm,
): Client<Service> {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${token.text}`);
    return next(request);
  };
  return createClient(service, form.open(String(opsUrl), [authorize]));
}

/** How a call was refused. */
export interface CallRefusal {
  readonly reason: string | undefined;
  readonly message: string;
  /** The wrong fields. */
  readonly fields: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** Waits for the refusal of a call. @throws Error if it is not refused. */
export async function refusalOf(call: Promise<unknown>): Promise<CallRefusal> {
  const error = await call.then(
    () => {
      throw new Error("The call was not refused.");
    },
    (reason: unknown) => ConnectError.from(reason),
  );
  const [info] = error.findDetails(ErrorInfoSchema);
  const [fault] = error.findDetails(BadRequestSchema);
  return {
    reason: info?.reason,
    message: error.rawMessage,
    fields: fault?.fieldViolations.map(({ field }) => field) ?? [],
    metadata: info?.metadata ?? {},
  };
}
