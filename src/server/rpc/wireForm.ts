/**
 * How the messages of a call are written on the wire, told from its headers.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import type { NodeRequest } from "../http/nodeHttp.ts";
import type { Codec } from "./decode.ts";
import { ENVELOPE_BYTES } from "./envelope.ts";

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
