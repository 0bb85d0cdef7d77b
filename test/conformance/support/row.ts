/**
 * A row of the tables: a request, with what is odd about it.
 */
import { framed } from "../../server/support/wire.ts";
import type { DifferenceName } from "../differences.ts";
import { type Fields, HTTP_VERSIONS, type HttpVersion, type WireRequest } from "./client.ts";
import type { Form } from "./forms.ts";

/** A request that is sent to both servers. */
export interface Row extends WireRequest {
  readonly name: string;
  readonly versions: readonly HttpVersion[];
  /** Whether it is whole by the rules of HTTP; if not, the exchange breaks off everywhere. */
  readonly isWhole: boolean;
  /** The intended differences between the answers. */
  readonly differences: readonly DifferenceName[];
}

export const INGEST = "/signals.v1.IngestService/Ingest";
export const INGEST_BATCH = "/signals.v1.IngestService/IngestBatch";
export const HEALTH_CHECK = "/grpc.health.v1.Health/Check";
export const HEALTH_WATCH = "/grpc.health.v1.Health/Watch";

/** The id that a caller gives its request. */
export const OWN_REQUEST_ID = "my-own-1";

/** What a row may say besides its form and its message. */
export interface Odd {
  readonly method?: string;
  readonly path?: string;
  /** `undefined` leaves a field out. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body as it is sent, instead of the message in the form's framing. */
  readonly body?: Uint8Array;
  readonly pieces?: readonly Uint8Array[];
  readonly pauseMs?: number;
  readonly trailers?: Fields;
  readonly isStream?: boolean;
  readonly isWhole?: boolean;
  readonly versions?: readonly HttpVersion[];
  readonly differences?: readonly DifferenceName[];
}

/** A row of the table: the message, in the form, with what is odd about it. */
export function row(name: string, form: Form, message: Uint8Array, odd: Odd = {}): Row {
  const body = odd.body ?? bodyOf(form, message);
  const pieces = odd.pieces ?? [body];
  const all: Readonly<Record<string, string | readonly string[] | undefined>> = {
    "content-type": form.contentType,
    ...(form.kind === "grpc" && { te: "trailers" }),
    // A body in one piece has its length told, as most clients do.
    ...(pieces.length === 1 && !odd.trailers && { "content-length": `${pieces[0]?.length ?? 0}` }),
    ...odd.headers,
  };
  const headers: Record<string, string | readonly string[]> = {};
  for (const [field, value] of Object.entries(all)) if (value !== undefined) headers[field] = value;
  return {
    name: `${form.name}: ${name}`,
    method: odd.method ?? "POST",
    path: odd.path ?? INGEST,
    headers,
    pieces,
    pauseMs: odd.pauseMs ?? 0,
    trailers: odd.trailers,
    isStream: odd.isStream ?? false,
    versions: odd.versions ?? HTTP_VERSIONS,
    isWhole: odd.isWhole ?? true,
    differences: odd.differences ?? [],
  };
}

/** The same oddity in each of the forms. */
export function inEach(
  forms: readonly Form[],
  name: string,
  messageIn: (form: Form) => Uint8Array,
  oddIn: Odd | ((form: Form) => Odd) = {},
): Row[] {
  return forms.map((form) =>
    row(name, form, messageIn(form), typeof oddIn === "function" ? oddIn(form) : oddIn),
  );
}

export function bodyOf({ kind }: Form, message: Uint8Array): Uint8Array {
  return kind === "connect" ? message : framed(message);
}
