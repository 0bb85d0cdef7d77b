/**
 * One request to a target: a message that may be spoiled before it is signed, a signature that may
 * be wrong, a frame and header fields that may be odd. All of it is whole by the rules of HTTP.
 */
import type { HeaderLines } from "../attacks/support/rawHttp1.ts";
import { framed } from "../server/support/wire.ts";
import { TEST_PRODUCER_ID } from "../support/server.ts";
import type { Dice } from "./dice.ts";
import { validMessage, validRest } from "./messages.ts";
import { mutateBytes } from "./mutate/bytes.ts";
import { mutateFields } from "./mutate/fields.ts";
import { mutateJson } from "./mutate/json.ts";
import { mutateProtobuf } from "./mutate/protobuf.ts";
import type { Claim, MessageKind } from "./oracle/oracle.ts";
import { type KnownTokens, proofOf, tokenFieldOf } from "./proof.ts";
import type { Target } from "./targets.ts";

/** A request as it goes into the connection. */
export interface FuzzRequest {
  readonly target: Target;
  /** How its answers are counted. */
  readonly protocol: Protocol;
  readonly method: string;
  readonly path: string;
  /** In the order in which they are sent; names may repeat. */
  readonly fields: HeaderLines;
  readonly body: Buffer;
  /** What it may store: `undefined` if it is not validly signed. */
  readonly claim: Claim | undefined;
  /** Whether it lacks a proof that its target asks for, so that it must not be served. */
  readonly isUnproven: boolean;
  /** The signature, in base64, if it is valid. */
  readonly signature: string | undefined;
  /** What was done to it, for whoever looks at a failure. */
  readonly oddities: readonly string[];
}

/** What answers to calls with a token are counted as, besides. */
export const WITH_TOKEN = " with a token";

export const PROTOCOLS = ["gRPC", "gRPC-Web", "Connect", "REST"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** Producers that the server knows besides the test's own, all with its secret. */
export const OTHER_PRODUCERS = [
  { producerId: "gold-only", allowedInstruments: ["GOLD"] },
  { producerId: "approval", requireApproval: true },
  { producerId: "limited", rateLimitPerSecond: 2 },
  { producerId: "disabled", isEnabled: false },
] as const;

/** What requests are made with. */
export interface Making {
  readonly targets: readonly Target[];
  readonly tokens: KnownTokens;
  /** The time at which requests are signed. */
  readonly nowMs: number;
}

/** Makes a request. @param key an idempotency key that nobody else has. */
export function makeRequest(
  key: string,
  { targets, tokens, nowMs }: Making,
  dice: Dice,
): FuzzRequest {
  const target = dice.pick(targets.flatMap((one) => Array.from({ length: one.weight }, () => one)));
  const { path, method } = target;
  const oddities: string[] = [];
  if (method === "GET") {
    const fields = mutateFields([], dice, oddities);
    const asked = { method: dice.pick(["GET", "GET", "GET", "HEAD"]), path: readPath(path, dice) };
    return {
      ...{ target, protocol: "REST", fields, body: Buffer.alloc(0), oddities, ...asked },
      ...{ claim: undefined, isUnproven: false, signature: undefined },
    };
  }
  const protocol =
    target.rpc === undefined ? "REST" : dice.pick(["gRPC", "gRPC-Web", "Connect"] as const);
  const codec = target.rpc === undefined || dice.chance(0.5) ? "json" : "proto";
  const valid =
    target.rpc === undefined
      ? validRest(key, dice)
      : validMessage(target.rpc.input, codec, key, dice);
  const message = spoilt(valid, codec, dice, oddities);
  const producerId = dice.chance(0.8) ? TEST_PRODUCER_ID : dice.pick(OTHER_PRODUCERS).producerId;
  const proof = proofOf({ path, message, producerId, nowMs }, dice, oddities);
  const token = tokenFieldOf(tokens, dice, target.takesToken ? oddities : []);
  const isFramed =
    protocol !== "Connect" ? protocol !== "REST" : target.rpc?.methodKind !== "unary";
  const body = isFramed ? spoiltFrame(proof.message, dice, oddities) : proof.message;
  const fields = mutateFields(
    [
      ["content-type", contentTypeOf(protocol, codec, isFramed)],
      ...(target.takesToken ? [token.field] : Object.entries(proof.headers)),
      ...(protocol === "gRPC" ? ([["te", "trailers"]] as const) : []),
    ],
    dice,
    oddities,
  );
  const kind = messageKindOf(target, codec);
  const isClaim = proof.isValid && kind !== undefined && producerId !== "disabled";
  return {
    ...{ target, protocol, method, path, fields, body, oddities },
    isUnproven: target.isOpen ? false : !(target.takesToken ? token : proof).isValid,
    claim: isClaim ? { kind, message, producerId } : undefined,
    signature: proof.isValid ? proof.headers["x-signature"] : undefined,
  };
}

/** Reading takes no body, and passes over a query. */
function readPath(path: string, dice: Dice): string {
  return path + dice.pick(["", "", "", "?", "?a=b", "?connect=v1&encoding=json&message=%7B%7D"]);
}

function contentTypeOf(protocol: Protocol, codec: "proto" | "json", isFramed: boolean): string {
  if (protocol === "REST") return "application/json";
  if (protocol === "Connect") return `application/${isFramed ? "connect+" : ""}${codec}`;
  return `application/${protocol.toLowerCase()}+${codec}`;
}

/** @returns `undefined` if the target stores no signals. */
function messageKindOf({ rpc }: Target, codec: "proto" | "json"): MessageKind | undefined {
  if (rpc === undefined) return "rest";
  const format = codec === "json" ? "json" : "protobuf";
  if (rpc.name === "Ingest") return format;
  return rpc.name === "IngestBatch" ? `${format} batch` : undefined;
}

/** A message that is wrong in one or two places, or as it was. */
function spoilt(message: Buffer, codec: "proto" | "json", dice: Dice, oddities: string[]): Buffer {
  if (dice.chance(0.3)) return message;
  oddities.push("message");
  let result = message;
  dice.times(2, () => {
    const mutate = dice.chance(0.2) ? mutateBytes : codec === "json" ? mutateJson : mutateProtobuf;
    result = mutate(result, dice);
  });
  return result;
}

/** The frame around a message, which no signature covers. */
function spoiltFrame(message: Buffer, dice: Dice, oddities: string[]): Buffer {
  if (dice.chance(0.85)) return framed(message);
  oddities.push("frame");
  const one = framed(message);
  return dice.pick([
    () => framed(message, dice.pick([1, 2, 3, 0x7f, 0x80, 0x81, 0xff])),
    () => framed(message, 0, dice.pick([0, 1, message.length + 1, 2 ** 31, 2 ** 32 - 1])),
    () => Buffer.concat([one, one]),
    () => Buffer.concat([one, dice.bytes(1 + dice.upTo(5))]),
    () => Buffer.concat([one, framed(Buffer.from("grpc-status: 0\r\n"), 0x80)]),
    () => one.subarray(0, dice.upTo(one.length)),
    () => message,
    () => Buffer.alloc(0),
  ])();
}
