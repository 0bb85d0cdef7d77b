/**
 * Paths and methods that are not served, and queries.
 */
import { CONNECT_BINARY, CONNECT_JSON, GRPC, PROTOCOLS } from "../support/forms.ts";
import { bytes, checking, signal } from "../support/messages.ts";
import { HEALTH_CHECK, INGEST, inEach, type Odd, type Row } from "../support/row.ts";

export function targets(): Row[] {
  const unknown = [
    "/",
    "/signals.v1.IngestService",
    "/signals.v1.IngestService/",
    "/signals.v1.IngestService/Ingest/",
    "/signals.v1.IngestService/ingest",
    "/signals.v1.IngestService/Inges%74",
    "/signals.v1.IngestService/IngestStream",
    "/signals.v1.ingestservice/Ingest",
    "//signals.v1.IngestService/Ingest",
    "/prefix/signals.v1.IngestService/Ingest",
    "/signals.v2.IngestService/Ingest",
  ];
  const queries = ["?", "?a=b", "?connect=v1&encoding=json", "?/signals.v1.IngestService/Ingest"];
  const get = "?connect=v1&encoding=json&message=%7B%7D";
  const methods = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"];
  const noBody: Odd = {
    headers: { "content-length": undefined },
    pieces: [],
    differences: ["plain words"],
  };
  return [
    ...unknown.flatMap((path) =>
      inEach([CONNECT_JSON, GRPC], `path ${path}`, signal, { path, differences: ["plain words"] }),
    ),
    ...queries.flatMap((query) =>
      inEach(PROTOCOLS, `query ${query}`, signal, {
        path: INGEST + query,
        differences: ["no query"],
      }),
    ),
    ...inEach([CONNECT_JSON, GRPC], "a health check with a query", checking(""), {
      path: `${HEALTH_CHECK}?a=b`,
    }),
    ...methods.flatMap((method) =>
      inEach(PROTOCOLS, method, bytes(""), {
        method,
        ...noBody,
      }),
    ),
    ...inEach([CONNECT_JSON, CONNECT_BINARY], "GET with the message in its query", bytes(""), {
      method: "GET",
      path: INGEST + get,
      ...noBody,
      headers: { "content-length": undefined, "content-type": undefined },
    }),
    ...inEach([CONNECT_JSON], "GET of a health check", bytes(""), {
      method: "GET",
      path: HEALTH_CHECK + get,
      ...noBody,
    }),
  ];
}
