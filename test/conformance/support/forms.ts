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

export const CONNECT_JSON: Form = {
  name: "Connect JSON",
  kind: "connect",
  contentType: "application/json",
  isJson: true,
};

export const CONNECT_BINARY: Form = {
  name: "Connect binary",
  kind: "connect",
  contentType: "application/proto",
  isJson: false,
};

export const GRPC: Form = {
  name: "gRPC",
  kind: "grpc",
  contentType: "application/grpc",
  isJson: false,
};

export const GRPC_JSON: Form = {
  name: "gRPC JSON",
  kind: "grpc",
  contentType: "application/grpc+json",
  isJson: true,
};

export const GRPC_WEB: Form = {
  name: "gRPC-Web",
  kind: "grpc-web",
  contentType: "application/grpc-web+proto",
  isJson: false,
};

export const GRPC_WEB_JSON: Form = {
  name: "gRPC-Web JSON",
  kind: "grpc-web",
  contentType: "application/grpc-web+json",
  isJson: true,
};

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
