/**
 * What may be stored of what was sent, judged without the server's code: the bytes are read by
 * readers of their own, and the rules are those of the contract (`proto/signals/v1/signal.proto`).
 */
import { contentSha256, type Signal } from "../../../src/signal/index.ts";
import type { Asked } from "./asked.ts";
import { readBatchJson, readJson, readRest } from "./json.ts";
import { readBatchProtobuf, readProtobuf } from "./protobuf.ts";
import { faultsOf } from "./rules.ts";

/** How the bytes of a message are to be read. */
export type MessageKind = "protobuf" | "json" | "rest" | "protobuf batch" | "json batch";

/** Bytes that a producer signed and sent. */
export interface Claim {
  readonly kind: MessageKind;
  readonly message: Buffer;
  readonly producerId: string;
}

/** A row that there may be. */
export interface Allowed {
  readonly signal: Signal;
  readonly key: string | undefined;
  /** Whether a header may have given a key. */
  readonly isKeyOpen: boolean;
}

const READERS: Readonly<Record<MessageKind, (message: Buffer) => readonly Asked[]>> = {
  protobuf: (message) => [readProtobuf(message)],
  json: (message) => [readJson(message)],
  rest: (message) => [readRest(message)],
  "protobuf batch": readBatchProtobuf,
  "json batch": readBatchJson,
};

/**
 * The rows that a claim may lead to: none, if its bytes are not exactly what they should be.
 *
 * @param now the server's clock.
 */
export function allowedBy({ kind, message }: Claim, now: bigint): readonly Allowed[] {
  try {
    return READERS[kind](message)
      .filter(({ signal, key, validateOnly }) => !validateOnly && isValid(signal, key, now))
      .map(({ signal, key }) => ({ signal, key, isKeyOpen: kind === "rest" && key === undefined }));
  } catch {
    return [];
  }
}

function isValid(signal: Signal, key: string | undefined, now: bigint): boolean {
  return faultsOf(signal, key, now).length === 0;
}

/** The digest of a signal: equal for two exactly if every field is. */
export function digestOf(signal: Signal): string {
  return contentSha256(signal).toString("hex");
}
