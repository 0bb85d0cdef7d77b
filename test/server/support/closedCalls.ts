/**
 * The emptiest call of any method, over each protocol, and how it ended.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import {
  connectError,
  framed,
  framesOf,
  grpcError,
  http1Post,
  http2Post,
  type WireAnswer,
} from "./wire.ts";

/** A protocol with a codec, over a version of HTTP. */
export interface CallForm {
  readonly name: string;
  readonly httpVersion: "1.1" | "2";
  readonly protocol: "gRPC" | "gRPC-Web" | "Connect";
  readonly codec: "json" | "proto";
}

const HTTP_VERSIONS = { gRPC: ["2"], "gRPC-Web": ["1.1", "2"], Connect: ["1.1", "2"] } as const;

/** All forms that a call can have. */
export const CALL_FORMS: readonly CallForm[] = (["gRPC", "gRPC-Web", "Connect"] as const).flatMap(
  (protocol) =>
    HTTP_VERSIONS[protocol].flatMap((httpVersion) =>
      (["json", "proto"] as const).map((codec) => ({
        name: `${protocol} ${codec} over HTTP/${httpVersion}`,
        httpVersion,
        protocol,
        codec,
      })),
    ),
);

/** How a call ended. */
export interface Ending {
  readonly httpStatus: number;
  /** The code as Connect names it; `undefined` for a success. */
  readonly code: string | undefined;
  readonly reason: string | undefined;
}

/** What is hashed for the signature of the emptiest message. */
export function emptyMessage({ codec }: CallForm): Buffer {
  return Buffer.from(codec === "json" ? "{}" : "");
}

/** The path of a method, as every protocol has it. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Calls a method with an empty message. */
export async function call(
  url: string,
  method: Pick<DescMethod, "methodKind"> & { readonly path: string },
  form: CallForm,
  headers: Readonly<Record<string, string>>,
): Promise<Ending> {
  const isStream = method.methodKind !== "unary";
  const isFramed = form.protocol !== "Connect" || isStream;
  const message = emptyMessage(form);
  const body = isFramed ? framed(message) : message;
  const fields = { "content-type": contentType(form, isStream), ...headers };
  const post = form.httpVersion === "2" ? http2Post : http1Post;
  const answer = await post(url, method.path, fields, body);
  const error = errorOf(answer, form, isStream);
  return { httpStatus: answer.httpStatus, code: error?.code, reason: error?.reason };
}

function contentType({ protocol, codec }: CallForm, isStream: boolean): string {
  if (protocol === "Connect") return `application/${isStream ? "connect+" : ""}${codec}`;
  return `application/${protocol.toLowerCase()}+${codec}`;
}

function errorOf(
  { httpStatus, headers, body }: Pick<WireAnswer, "httpStatus" | "headers" | "body">,
  { protocol }: CallForm,
  isStream: boolean,
) {
  if (protocol === "Connect" && !isStream) {
    return httpStatus === 200 ? undefined : connectError(body);
  }
  const last = framesOf(body).at(-1);
  if (protocol === "Connect") {
    const end = JSON.parse(last?.bytes.toString("utf8") ?? "{}");
    return end.error === undefined
      ? undefined
      : connectError(Buffer.from(JSON.stringify(end.error)));
  }
  const lines = last?.flags === 0x80 ? last.bytes.toString("latin1").split("\r\n") : [];
  const trailers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  return grpcError({ ...headers, ...Object.fromEntries(trailers) });
}
