import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import type { Metadata } from "@grpc/grpc-js";

/**
 * The Connect form of an error that `@grpc/grpc-js` threw, or `undefined` if it is not
 * one. The status codes of both are the same; the details of gRPC errors travel in the
 * trailer `grpc-status-details-bin`.
 */
export function fromGrpcError(thrown: unknown): ConnectError | undefined {
  if (!isServiceError(thrown)) return undefined;
  const trailer = headersFrom(thrown.metadata);
  const [details] = thrown.metadata.get(TRAILER_DETAILS);
  if (details !== undefined) {
    trailer.set(TRAILER_DETAILS, Buffer.from(details).toString("base64"));
    try {
      const described = findTrailerError(trailer);
      if (described !== undefined) return described;
    } catch {
      // Details that cannot be read leave the plain status.
    }
  }
  return new ConnectError(thrown.details, thrown.code, trailer, undefined, thrown);
}

const TRAILER_DETAILS = "grpc-status-details-bin";

interface GrpcServiceError extends Error {
  readonly code: Code;
  readonly details: string;
  readonly metadata: Metadata;
}

function isServiceError(thrown: unknown): thrown is GrpcServiceError {
  return (
    thrown instanceof Error &&
    "code" in thrown &&
    typeof thrown.code === "number" &&
    thrown.code in Code &&
    "details" in thrown &&
    typeof thrown.details === "string" &&
    "metadata" in thrown &&
    isMetadata(thrown.metadata)
  );
}

/** By what it can do: the class is not loaded here, since few bots have `@grpc/grpc-js`. */
function isMetadata(value: unknown): value is Metadata {
  const { get, getMap } = (value ?? {}) as Partial<Metadata>;
  return typeof get === "function" && typeof getMap === "function";
}

function headersFrom(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(metadata.getMap())) {
    if (typeof value === "string") headers.set(name, value);
  }
  return headers;
}
