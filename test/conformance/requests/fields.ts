/**
 * Odd header fields: content types, encodings, timeouts, and what else callers send.
 */
import { gzipSync } from "node:zlib";
import { framed } from "../../server/support/wire.ts";
import type { Fields } from "../support/client.ts";
import {
  CONNECT_BINARY,
  CONNECT_JSON,
  type Form,
  GRPC,
  GRPC_JSON,
  GRPC_WEB,
  GRPC_WEB_JSON,
  PROTOCOLS,
} from "../support/forms.ts";
import { asking, checking, signal } from "../support/messages.ts";
import { HEALTH_WATCH, inEach, OWN_REQUEST_ID, type Row, row } from "../support/row.ts";
import { ASK } from "../support/servers.ts";

/** For each protocol, content types that its own name was made of, some of them wrongly. */
const CONTENT_TYPES: readonly (readonly [Form, readonly (string | undefined)[]])[] = [
  [
    CONNECT_JSON,
    [
      undefined,
      "",
      "Application/JSON",
      "application/json; charset=utf-8",
      "application/json;charset=utf-8",
      "application/json;  charset=utf-8",
      "application/json ;charset=utf-8",
      "application/json; charset=utf8",
      "application/json; charset=UTF-8",
      'application/json; charset="utf-8"',
      "application/json; charset=latin1",
      "application/json; charset=utf-8; q=1",
      "application/json;",
      "application/json; ; charset=utf-8 ;",
      ";application/json",
      'application/json; charset="utf-8',
      "application/json; version=1",
      "application/json, application/json",
      "application/jsonx",
      "application/ json",
      "text/json",
      "text/plain",
      "application/x-www-form-urlencoded",
      "application/vnd.api+json",
      "application/connect+json",
      "application/connect+json; charset=utf-8",
      "application/connectjson",
      "*/*",
    ],
  ],
  [
    CONNECT_BINARY,
    [
      "APPLICATION/PROTO",
      "application/proto; charset=utf-8",
      "application/proto;",
      "application/protobuf",
      "application/x-protobuf",
      "application/connect+proto",
      "application/octet-stream",
    ],
  ],
  [
    GRPC,
    [
      "application/grpc+proto",
      "APPLICATION/GRPC",
      "application/grpc+PROTO",
      "application/grpc; charset=utf-8",
      "application/grpc+proto; charset=utf-8",
      "application/grpc+",
      "application/grpc+thrift",
      "application/grpc;",
      "application/grpcx",
      "application/grpc-web",
      "application/grpc-web-text",
      "application/grpc-web-text+proto",
    ],
  ],
  [
    GRPC_JSON,
    [
      "application/grpc+JSON",
      "application/grpc+json; charset=utf-8",
      "application/grpc+json;charset=UTF8",
      "application/grpc+json; charset=latin1",
      "application/grpc+json;",
    ],
  ],
  [
    GRPC_WEB,
    [
      "Application/gRPC-Web",
      "application/grpc-web; charset=utf-8",
      "application/grpc-web+thrift",
      "application/grpc-web+proto;",
    ],
  ],
  [
    GRPC_WEB_JSON,
    [
      "application/grpc-web+json; charset=utf-8",
      "application/grpc-web+json;charset=utf8",
      "application/grpc-web+json; charset=ascii",
    ],
  ],
];

/** Right by RFC 9110, section 5.6.6, though the library knows them not. */
const ODD_PARAMETERS: ReadonlySet<string | undefined> = new Set([
  "application/json;  charset=utf-8",
  "application/json ;charset=utf-8",
  'application/json; charset="utf-8"',
  "application/json;",
  "application/json; ; charset=utf-8 ;",
  "application/proto;",
  "application/grpc;",
  "application/grpc+json;",
  "application/grpc-web+proto;",
]);

export function contentTypes(): Row[] {
  const named = (type: string | undefined) =>
    type === undefined ? "no content type" : `content type "${type}"`;
  const own = CONTENT_TYPES.flatMap(([form, types]) =>
    types.map((type) =>
      row(named(type), form, signal(form), {
        headers: { "content-type": type },
        differences: ODD_PARAMETERS.has(type) ? ["media type"] : [],
      }),
    ),
  );
  return [
    ...own,
    ...inEach(PROTOCOLS, "content type text/plain and a refusal", asking("refuse INTERNAL"), {
      headers: { "content-type": "text/plain" },
    }),
    row("content type of JSON", CONNECT_BINARY, signal(CONNECT_BINARY), {
      headers: { "content-type": "application/json" },
      differences: ["malformed, in other words"],
    }),
    row("content type of protobuf", CONNECT_JSON, signal(CONNECT_JSON), {
      headers: { "content-type": "application/proto" },
      differences: ["malformed protobuf"],
    }),
    row("content type of gRPC", CONNECT_BINARY, signal(CONNECT_BINARY), {
      headers: { "content-type": "application/grpc" },
      differences: ["frame's length"],
    }),
    row("content type of Connect", GRPC, signal(GRPC), {
      headers: { "content-type": "application/proto" },
      differences: ["malformed protobuf"],
    }),
    row("a content type that is no stream's", CONNECT_JSON, checking("")(CONNECT_JSON), {
      path: HEALTH_WATCH,
    }),
  ];
}

const ENCODINGS = ["gzip", "br", "deflate", "zstd", "GZIP", "gzip, gzip", "Identity", ""] as const;

/** How each protocol names its encoding, and what it offers to read. */
const ENCODING_FIELDS = {
  connect: ["content-encoding", "accept-encoding"],
  grpc: ["grpc-encoding", "grpc-accept-encoding"],
  "grpc-web": ["grpc-encoding", "grpc-accept-encoding"],
} as const;

export function encodings(): Row[] {
  return PROTOCOLS.flatMap((form) => {
    const [encoding, accepted] = ENCODING_FIELDS[form.kind];
    const [foreign] = ENCODING_FIELDS[form.kind === "connect" ? "grpc" : "connect"];
    const refused = { differences: ["no compression"] } as const;
    const offers = ["identity", "gzip", "br, gzip;q=0.5", "zstd", "*", ""];
    return [
      ...ENCODINGS.map((name) =>
        row(`encoding "${name}"`, form, signal(form), {
          headers: { [encoding]: name },
          ...refused,
        }),
      ),
      row("encoding identity", form, signal(form), { headers: { [encoding]: "identity" } }),
      row("two encodings", form, signal(form), {
        headers: { [encoding]: ["identity", "gzip"] },
        ...refused,
        // Over HTTP/2, the client does not send this field twice.
        ...(form.kind === "connect" && { versions: ["1.1"] as const }),
      }),
      row("compressed, as it says", form, gzipSync(signal(form)), {
        headers: { [encoding]: "gzip" },
        ...refused,
        ...(form.kind !== "connect" && { body: framed(gzipSync(signal(form)), 1) }),
      }),
      row("compressed, and with a timeout that is none", form, signal(form), {
        headers: { [encoding]: "gzip", "grpc-timeout": "soon", "connect-timeout-ms": "soon" },
        ...refused,
      }),
      row("the encoding of another protocol", form, signal(form), {
        headers: { [foreign]: "gzip" },
      }),
      ...offers.map((offer) =>
        row(`accepts "${offer}"`, form, asking("refuse INVALID_SIGNAL")(form), {
          headers: { [accepted]: offer },
        }),
      ),
    ];
  });
}

const TIMEOUT_FIELDS = {
  connect: "connect-timeout-ms",
  grpc: "grpc-timeout",
  "grpc-web": "grpc-timeout",
} as const;

const GOOD_TIMEOUTS = {
  connect: ["5000", "30000", "0000005000", "86400000"],
  grpc: ["5S", "5000m", "5000000u", "00000005S", "1M", "24H"],
} as const;

const BAD_TIMEOUTS = {
  connect: ["", "-1", "+5000", "1.5", "1e3", "5000ms", "five", "00000005000", "5²", "0x10"],
  grpc: ["", "S", "5", "5s", "5 S", "-5S", "1.5S", "000000005S", "5SS", "soon"],
} as const;

/** Beyond what a timer of Node can hold. */
const HUGE_TIMEOUTS = { connect: ["9999999999"], grpc: ["99999999H", "9999999M"] } as const;

export function timeouts(): Row[] {
  return PROTOCOLS.flatMap((form) => {
    const field = TIMEOUT_FIELDS[form.kind];
    const kind = form.kind === "connect" ? "connect" : "grpc";
    const foreign = TIMEOUT_FIELDS[kind === "connect" ? "grpc" : "connect"];
    const zeros = kind === "connect" ? ["0"] : ["0S", "0n", "1n"];
    // The time is over before the body is there, and not only while it comes.
    const late = { pauseMs: 400 };
    return [
      ...GOOD_TIMEOUTS[kind]
        .slice(1)
        .map((value) =>
          row(`timeout "${value}"`, form, signal(form), { headers: { [field]: value } }),
        ),
      ...BAD_TIMEOUTS[kind].map((value) =>
        row(`timeout "${value}"`, form, signal(form), {
          headers: { [field]: value },
          differences: ["malformed, in other words"],
        }),
      ),
      ...HUGE_TIMEOUTS[kind].map((value) =>
        row(`timeout "${value}"`, form, signal(form), {
          headers: { [field]: value },
          differences: ["timeout clamped"],
          ...late,
        }),
      ),
      ...zeros.map((value) =>
        row(`timeout "${value}"`, form, signal(form), {
          headers: { [field]: value },
          differences: ["deadline, in other words"],
          ...late,
        }),
      ),
      row("a timeout that ends in the domain", form, asking(ASK.wait)(form), {
        headers: { [field]: kind === "connect" ? "300" : "300m" },
      }),
      row("two timeouts", form, signal(form), {
        headers: { [field]: kind === "connect" ? ["5000", "6000"] : ["5S", "6S"] },
        differences: ["malformed, in other words"],
      }),
      row("the timeout of another protocol", form, signal(form), {
        headers: { [foreign]: kind === "connect" ? "5S" : "5000" },
      }),
      row("the timeout of another protocol, over", form, signal(form), {
        headers: { [foreign]: kind === "connect" ? "0S" : "0" },
        ...late,
      }),
      row("the timeout of another protocol, malformed", form, signal(form), {
        headers: { [foreign]: "soon" },
      }),
      row("its own timeout and another's", form, signal(form), {
        headers: {
          [field]: kind === "connect" ? "5000" : "5S",
          [foreign]: kind === "connect" ? "0S" : "0",
        },
        ...late,
      }),
    ];
  });
}

export function headers(): Row[] {
  const odd: Readonly<Record<string, Fields>> = {
    "connect-protocol-version 1": { "connect-protocol-version": "1" },
    "connect-protocol-version 2": { "connect-protocol-version": "2" },
    "an empty connect-protocol-version": { "connect-protocol-version": "" },
    "accept application/json": { accept: "application/json" },
    "accept nothing that there is": { accept: "image/png" },
    "a request id": { "x-request-id": OWN_REQUEST_ID },
    "a request id that is none": { "x-request-id": "a b" },
    "user-agent of grpc-js": { "user-agent": "grpc-node-js/1.14.7" },
    "x-user-agent": { "x-user-agent": "grpc-web-javascript/0.1" },
    "binary metadata": { "trace-bin": "AAEC/w==" },
    "binary metadata that is none": { "trace-bin": "%%%" },
    "metadata twice": { "x-tag": ["one", "two"] },
    "metadata in Latin-1": { "x-tag": "gr\u00fcn" },
    "headers that are answers'": { "grpc-status": "0", "grpc-message": "fine" },
    "an origin": { origin: "https://example.com", "access-control-request-method": "POST" },
    "a cookie and an authorization": { cookie: "a=b; c=d", authorization: "Bearer x" },
    "x-http-method-override": { "x-http-method-override": "GET" },
    "grpc-accept-encoding and accept-encoding": {
      "grpc-accept-encoding": "gzip",
      "accept-encoding": "gzip, deflate, br",
    },
    "if-none-match": { "if-none-match": "*", range: "bytes=0-3" },
  };
  return [
    ...Object.entries(odd).flatMap(([name, fields]) =>
      inEach(PROTOCOLS, name, signal, { headers: fields }),
    ),
    ...inEach([GRPC, GRPC_JSON], "without te", signal, { headers: { te: undefined } }),
    ...inEach([CONNECT_JSON, GRPC], "expecting 100-continue", signal, {
      headers: { expect: "100-continue" },
      versions: ["1.1"],
    }),
  ];
}
