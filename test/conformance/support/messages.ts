/**
 * The messages that are sent, in any form.
 */
import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { HealthCheckRequestSchema } from "../../../gen/grpc/health/v1/health_pb.ts";
import {
  IngestBatchRequestSchema,
  IngestRequestSchema,
} from "../../../gen/signals/v1/ingest_service_pb.ts";
import { signalToProto } from "../../../src/signal/index.ts";
import { validIngestRequest, validSignal } from "../../support/signals.ts";
import type { Form } from "./forms.ts";

type Parts = Omit<MessageInitShape<typeof IngestRequestSchema>, "$typeName">;

function written<Desc extends DescMessage>(
  { isJson }: Form,
  schema: Desc,
  message: MessageShape<Desc>,
): Uint8Array {
  return isJson ? Buffer.from(toJsonString(schema, message)) : toBinary(schema, message);
}

export function signal(form: Form, parts: Parts = {}): Uint8Array {
  return written(form, IngestRequestSchema, validIngestRequest(parts));
}

/** A request whose signal asks the domain for something. */
export function asking(comment: string): (form: Form) => Uint8Array {
  return (form) => signal(form, { signal: signalToProto(validSignal({ comment })) });
}

/** A batch whose signals ask for these. */
export function batchAsking(...comments: readonly string[]): (form: Form) => Uint8Array {
  const requests = comments.map((comment) =>
    validIngestRequest({ signal: signalToProto(validSignal({ comment })) }),
  );
  return (form) =>
    written(form, IngestBatchRequestSchema, create(IngestBatchRequestSchema, { requests }));
}

/** A health check of a service. */
export function checking(service: string): (form: Form) => Uint8Array {
  return (form) =>
    written(form, HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service }));
}

/** A request of exactly so many bytes. */
export function ofBytes(bytes: number): (form: Form) => Uint8Array {
  return (form) => {
    const padded = (length: number) =>
      signal(form, { signal: signalToProto(validSignal({ reason: "x".repeat(length) })) });
    const most = padded(bytes).length;
    return padded(bytes - (most - bytes));
  };
}

/** The same bytes in each form. */
export function bytes(of: Uint8Array | string): () => Uint8Array {
  return () => Buffer.from(of);
}

/** A small message, for bodies that are sent byte by byte. */
export function small({ isJson }: Form): Uint8Array {
  return Buffer.from(isJson ? '{"signal":{"instrument":"GOLD"}}' : "\n\x06\n\x04GOLD");
}
