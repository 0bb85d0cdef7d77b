/**
 * The forms that a message can be sent in: each protocol with each of its codecs.
 */

/** A protocol with a codec. */
export interface Form {
  readonly name: string;
  readonly kind: "connect" | "grpc" | "grpc-web";
  readonly contentType: string;
  readonly isJson: boolean;
}

function form(name: string, kind: Form["kind"], contentType: string): Form {
  return { name, kind, contentType, isJson: contentType.endsWith("json") };
}

export const CONNECT_JSON = form("Connect JSON", "connect", "application/json");
export const CONNECT_BINARY = form("Connect binary", "connect", "application/proto");
export const GRPC = form("gRPC", "grpc", "application/grpc");
export const GRPC_JSON = form("gRPC JSON", "grpc", "application/grpc+json");
export const GRPC_WEB = form("gRPC-Web", "grpc-web", "application/grpc-web+proto");
export const GRPC_WEB_JSON = form("gRPC-Web JSON", "grpc-web", "application/grpc-web+json");

export const FORMS = [
  CONNECT_JSON,
  CONNECT_BINARY,
  GRPC,
  GRPC_JSON,
  GRPC_WEB,
  GRPC_WEB_JSON,
] as const;

/** One of each protocol, for what no codec changes. */
export const PROTOCOLS = [CONNECT_JSON, GRPC, GRPC_WEB] as const;
export const BINARY_FORMS = FORMS.filter(({ isJson }) => !isJson);

export const JSON_FORMS = FORMS.filter(({ isJson }) => isJson);

export const FRAMED_FORMS = FORMS.filter(({ kind }) => kind !== "connect");
