/**
 * Odd bodies: their framing, their size, the way they come, and what is in them.
 */
import { framed } from "../../server/support/wire.ts";
import type { DifferenceName } from "../differences.ts";
import {
  BINARY_FORMS,
  CONNECT_BINARY,
  CONNECT_JSON,
  FORMS,
  type Form,
  FRAMED_FORMS,
  GRPC,
  GRPC_WEB,
  JSON_FORMS,
} from "../support/forms.ts";
import { bytes, checking, ofBytes, signal, small } from "../support/messages.ts";
import {
  bodyOf,
  HEALTH_CHECK,
  HEALTH_WATCH,
  inEach,
  type Odd,
  type Row,
  row,
} from "../support/row.ts";

/** The differences that a frame's flags show. */
function differencesOfFlags(flags: number, { kind }: Form): readonly DifferenceName[] {
  const isCompressed = (flags & 0x01) !== 0;
  // To the library this one is of trailers, and then there is no message.
  const isTrailers = kind === "grpc-web" && (flags & 0x80) !== 0;
  if (flags === 0x01) return ["compressed flag"];
  if (isCompressed) return ["undefined flags, with a compressed one"];
  return [isTrailers ? "number of messages" : "undefined flags"];
}

export function frames(): Row[] {
  return FRAMED_FORMS.flatMap((form) => {
    const message = signal(form);
    const whole = framed(message);
    const frame = (name: string, body: Uint8Array, difference: DifferenceName, odd: Odd = {}) =>
      row(name, form, message, { body, differences: [difference], ...odd });
    const malformed = "malformed, in other words";
    return [
      frame("no frame", Buffer.alloc(0), "number of messages"),
      frame("half a head", whole.subarray(0, 3), malformed),
      frame("a head without its message", whole.subarray(0, 5), "number of messages"),
      frame("a message cut short", whole.subarray(0, -1), malformed),
      frame("a byte too many", Buffer.concat([whole, Buffer.alloc(1)]), malformed),
      frame("a length of one too many", framed(message, 0, message.length + 1), malformed),
      frame(
        "a length of one too few",
        framed(message, 0, message.length - 1),
        form.isJson ? malformed : "malformed protobuf",
      ),
      frame("a length of 4 GiB", framed(message, 0, 0xffff_ffff), "frame's length"),
      frame("two messages", Buffer.concat([whole, whole]), "number of messages"),
      frame("no framing at all", message, "frame's length"),
      ...[1, 2, 3, 4, 128, 129, 255].map((flags) =>
        row(`flags ${flags}`, form, message, {
          body: framed(message, flags),
          differences: differencesOfFlags(flags, form),
        }),
      ),
      frame("flag 1 and encoding identity", framed(message, 1), "compressed flag", {
        headers: { "grpc-encoding": "identity" },
      }),
      frame("flag 0 and encoding gzip", whole, "no compression", {
        headers: { "grpc-encoding": "gzip" },
      }),
    ];
  });
}

/** What a unary message may take, in bytes. */
const INGEST_MAX_BYTES = 64 * 1024;

export function bodies(): Row[] {
  const inBytes = (body: Uint8Array) => [...body].map((byte) => Buffer.from([byte]));
  const inHalves = (body: Uint8Array) => [body.subarray(0, 7), body.subarray(7)];
  return [
    ...inEach(FORMS, "byte by byte", small, (form) => ({
      pieces: inBytes(bodyOf(form, small(form))),
    })),
    ...inEach(FORMS, "byte by byte, slowly", small, (form) => ({
      pieces: inBytes(bodyOf(form, small(form))),
      pauseMs: 1,
    })),
    ...inEach(FORMS, "in two delayed halves", signal, (form) => ({
      pieces: inHalves(bodyOf(form, signal(form))),
      pauseMs: 30,
    })),
    ...inEach(FORMS, "after a while", signal, { pauseMs: 30 }),
    ...inEach(FORMS, "with empty pieces", signal, (form) => ({
      pieces: [Buffer.alloc(0), ...inHalves(bodyOf(form, signal(form))), Buffer.alloc(0)],
    })),
    ...inEach(FORMS, "in no piece", bytes(""), (form) => ({
      pieces: [],
      differences:
        form.kind !== "connect"
          ? ["number of messages"]
          : form.isJson
            ? ["malformed, in other words"]
            : [],
    })),
    ...inEach(BINARY_FORMS, "an empty message", bytes("")),
    ...inEach(JSON_FORMS, "an empty message", bytes("{}")),
    ...inEach(FORMS, "with trailers", signal, {
      trailers: { "x-checksum": "1", "grpc-status": "0" },
    }),
    ...inEach(FORMS, "without a length", signal, { headers: { "content-length": undefined } }),
    ...inEach(FORMS, "of the greatest size", ofBytes(INGEST_MAX_BYTES)),
    ...inEach(FORMS, "one byte over the greatest size", ofBytes(INGEST_MAX_BYTES + 1), tooLarge),
    ...inEach(
      FORMS,
      "one byte over the greatest size, in pieces",
      ofBytes(INGEST_MAX_BYTES + 1),
      (form) => {
        const body = bodyOf(form, ofBytes(INGEST_MAX_BYTES + 1)(form));
        return { ...tooLarge(form), pieces: [body.subarray(0, 40_000), body.subarray(40_000)] };
      },
    ),
    ...inEach(FORMS, "a megabyte", bytes(Buffer.alloc(1 << 20, "{")), tooLarge),
    ...inEach(FORMS, "with less than its length", small, (form) => ({
      headers: { "content-length": `${bodyOf(form, small(form)).length + 1}` },
      versions: ["2"],
      isWhole: false,
    })),
    ...inEach(FORMS, "with more than its length", small, (form) => ({
      headers: { "content-length": `${bodyOf(form, small(form)).length - 1}` },
      versions: ["2"],
      isWhole: false,
    })),
  ];
}

/** Only Connect has an HTTP status for each code. */
function tooLarge({ kind }: Form): Odd {
  return {
    differences: ["too large, in other words", ...(kind === "connect" ? ["413" as const] : [])],
  };
}

export function malformed(): Row[] {
  const inOtherWords: Odd = { differences: ["malformed, in other words"] };
  const withUnknown = (form: Form) =>
    form.isJson
      ? Buffer.from('{"stopLos":1}')
      : Buffer.concat([signal(form), Buffer.from([0xf8, 0x7f, 0x01])]);
  const binary: Readonly<Record<string, Uint8Array>> = {
    "a lone tag": Buffer.from([0x0a]),
    "a length beyond the end": Buffer.from([0x0a, 0x7f, 0x00]),
    "a wire type that is none": Buffer.from([0x0f]),
    "field number 0": Buffer.from([0x02, 0x00]),
    "a varint without an end": Buffer.alloc(11, 0xff),
    "a string that is not UTF-8": Buffer.from([0x12, 0x02, 0xc3, 0x28]),
    "an end of a group that never began": Buffer.from([0x0c]),
  };
  const json: Readonly<Record<string, string>> = {
    nothing: "",
    blanks: "  ",
    "a comma too many": '{"validateOnly":true,}',
    "half an object": '{"signal":{',
    "an array": "[]",
    "a number": "7",
    null: "null",
    "a string": '"signal"',
    "bytes after the end": "{} {}",
    "a comment": "{/* no */}",
    "a wrong type": '{"validateOnly":"perhaps"}',
    "an unknown enum value": '{"signal":{"side":"SIDE_BUYY"}}',
    "a repeated name": '{"validateOnly":true,"validateOnly":false}',
  };
  return [
    ...inEach(BINARY_FORMS, "an unknown field", withUnknown, {
      differences: ["unknown field number"],
    }),
    ...inEach(JSON_FORMS, "an unknown field", withUnknown, inOtherWords),
    ...Object.entries(binary).flatMap(([name, body]) =>
      inEach(BINARY_FORMS, name, bytes(body), { differences: ["malformed protobuf"] }),
    ),
    ...Object.entries(json).flatMap(([name, text]) =>
      inEach(JSON_FORMS, name, bytes(text), inOtherWords),
    ),
    ...inEach(JSON_FORMS, "not UTF-8", bytes(Buffer.from('{"idempotencyKey":"\xc3("}', "latin1")), {
      differences: ["not UTF-8"],
    }),
    ...inEach(JSON_FORMS, "a byte order mark", bytes("\ufeff{}"), { differences: ["brace first"] }),
    ...inEach(JSON_FORMS, "a leading blank", bytes(" {}"), { differences: ["brace first"] }),
    ...inEach(
      JSON_FORMS,
      "an unknown name with half a character",
      bytes('{"\\ud83e":1}'),
      ({ kind }) => ({
        differences: [kind === "connect" ? "malformed, in other words" : "half a character"],
      }),
    ),
    ...inEach([CONNECT_BINARY, GRPC], "malformed, to the health check", bytes("\x0a"), {
      path: HEALTH_CHECK,
      differences: ["malformed protobuf"],
    }),
  ];
}

/** Calls to a stream of answers: up to the first, or to the error that is the only one. */
export function streams(): Row[] {
  const forms = [GRPC, GRPC_WEB];
  const message = checking("");
  const twice = (form: Form) => Buffer.concat([framed(message(form)), framed(message(form))]);
  const watch = { path: HEALTH_WATCH };
  const connectStream: Form = { ...CONNECT_JSON, contentType: "application/connect+json" };
  return [
    ...inEach([...forms, connectStream], "a watch", message, (form) => ({
      ...watch,
      isStream: true,
      body: framed(message(form)),
    })),
    ...inEach(forms, "a watch with a timeout of 11,000 years", message, {
      ...watch,
      isStream: true,
      headers: { "grpc-timeout": "99999999H" },
      pauseMs: 40,
      differences: ["timeout clamped, of a stream"],
    }),
    ...inEach(forms, "malformed, to the watch", bytes("\x0a"), {
      ...watch,
      differences: ["malformed protobuf"],
    }),
    ...inEach(forms, "compressed, to the watch", message, {
      ...watch,
      headers: { "grpc-encoding": "gzip" },
      differences: ["no compression"],
    }),
    ...inEach(forms, "two messages, to the watch", message, (form) => ({
      ...watch,
      body: twice(form),
      differences: ["number of messages"],
    })),
    row("a timeout that is none, to the watch", GRPC, message(GRPC), {
      ...watch,
      headers: { "grpc-timeout": "soon" },
      differences: ["malformed, in other words"],
    }),
    row("malformed, to the watch", connectStream, message(connectStream), {
      ...watch,
      body: framed(Buffer.from("{")),
      differences: ["malformed, in other words"],
    }),
    row("compressed, to the watch", connectStream, message(connectStream), {
      ...watch,
      body: framed(Buffer.from("{}")),
      headers: { "connect-content-encoding": "gzip" },
      differences: ["no compression"],
    }),
  ];
}
