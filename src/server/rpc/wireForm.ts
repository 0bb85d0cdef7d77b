/**
 * How the messages of a call are written on the wire, told from its headers.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import { refuse } from "../../signal/index.ts";
import { type Framing, UNFRAMED, type Unwrapping } from "../http/message.ts";
import type { NodeRequest } from "../http/nodeHttp.ts";
import type { Codec } from "./decode.ts";

/**
 * Bytes of framing around a message: one of flags, four of its length (gRPC over HTTP/2,
 * "Length-Prefixed-Message").
 */
export const ENVELOPE_BYTES = 5;

const COMPRESSED_FLAG = 0b0000_0001;
const ENVELOPE: Framing = { bytes: ENVELOPE_BYTES, unwrap: unwrapEnvelope };

/** The form of a call. */
export interface WireForm {
  readonly protocol: "grpc" | "grpc-web" | "connect";
  readonly codec: Codec;
  /** Whether each message stands in an envelope of five bytes. */
  readonly isFramed: boolean;
  readonly isCompressed: boolean;
  /** The one header that bounds the call; that of another protocol means nothing here. */
  readonly timeoutHeader: "grpc-timeout" | "connect-timeout-ms";
}

interface KnownForm extends Pick<WireForm, "protocol" | "isFramed" | "timeoutHeader"> {
  readonly contentType: RegExp;
  readonly encodingHeader: string;
}

/** What is around the message of a unary call in this form. */
export function framingOf({ isFramed }: WireForm): Framing {
  return isFramed ? ENVELOPE : UNFRAMED;
}

const GRPC: readonly KnownForm[] = [
  {
    contentType: /^application\/grpc(?:\+(json)(?:; ?charset=utf-?8)?|\+proto)?$/i,
    protocol: "grpc",
    isFramed: true,
    encodingHeader: "grpc-encoding",
    timeoutHeader: "grpc-timeout",
  },
  {
    contentType: /^application\/grpc-web(?:\+(json)(?:; ?charset=utf-?8)?|\+proto)?$/i,
    protocol: "grpc-web",
    isFramed: true,
    encodingHeader: "grpc-encoding",
    timeoutHeader: "grpc-timeout",
  },
];
const CONNECT_UNARY: KnownForm = {
  contentType: /^application\/(?:(json)(?:; ?charset=utf-?8)?|proto)$/i,
  protocol: "connect",
  isFramed: false,
  encodingHeader: "content-encoding",
  timeoutHeader: "connect-timeout-ms",
};
const CONNECT_STREAM: KnownForm = {
  contentType: /^application\/connect\+(?:(json)(?:; ?charset=utf-?8)?|proto)$/i,
  protocol: "connect",
  isFramed: true,
  encodingHeader: "connect-content-encoding",
  timeoutHeader: "connect-timeout-ms",
};

/** @returns `undefined` if the method takes no such content type; the protocol library then says so. */
export function wireForm(request: NodeRequest, method: DescMethod): WireForm | undefined {
  const contentType = request.headers["content-type"] ?? "";
  const isUnary = method.methodKind === "unary";
  for (const known of [...GRPC, isUnary ? CONNECT_UNARY : CONNECT_STREAM]) {
    const match = known.contentType.exec(contentType);
    if (match === null) continue;
    const encoding = request.headers[known.encodingHeader] ?? "identity";
    return {
      protocol: known.protocol,
      codec: match[1] === undefined ? "binary" : "json",
      isFramed: known.isFramed,
      isCompressed: encoding !== "identity",
      timeoutHeader: known.timeoutHeader,
    };
  }
  return undefined;
}

/** An empty message in the form of the call. */
export function emptyBody({ isFramed, codec }: WireForm): Uint8Array {
  const message = codec === "json" ? Buffer.from("{}") : Buffer.alloc(0);
  if (!isFramed) return message;
  const envelope = Buffer.alloc(ENVELOPE_BYTES);
  envelope.writeUInt32BE(message.length, 1);
  return Buffer.concat([envelope, message]);
}

/** Takes the framing off the body of a unary call, which holds exactly one message. */
function unwrapEnvelope(body: Uint8Array): Unwrapping {
  if (body.length < ENVELOPE_BYTES)
    return malformed("The body lacks the five bytes of gRPC framing.");
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const flags = view.getUint8(0);
  if (flags === COMPRESSED_FLAG) return { kind: "compressed" };
  if (flags !== 0) return malformed("The gRPC framing has flags that are not defined.");
  if (view.getUint32(1) !== body.length - ENVELOPE_BYTES) {
    return malformed(
      "The body is not exactly one gRPC message of the length that its framing says.",
    );
  }
  return { kind: "message", bytes: body.subarray(ENVELOPE_BYTES) };
}

function malformed(message: string): Unwrapping {
  return { kind: "refused", refusal: refuse("MALFORMED_BODY", message) };
}
