/** Header fields that are odd, but that every client can send. */
import type { HeaderLines } from "../../attacks/support/rawHttp1.ts";
import type { Dice } from "../dice.ts";

const ODD: HeaderLines = [
  ...["", "0", "1", "-1", "1e3", "0x10", "99999999999999999999", "1.5", " 5"].map(
    (value) => ["connect-timeout-ms", value] as const,
  ),
  ...["1S", "0n", "5x", "1", "99999999H", "-1S", "100000000S", "S"].map(
    (value) => ["grpc-timeout", value] as const,
  ),
  ...["gzip", "identity", "br", "identity, gzip", "", "x".repeat(300)].flatMap((value) =>
    ["content-encoding", "grpc-encoding", "connect-content-encoding", "accept-encoding"].map(
      (name) => [name, value] as const,
    ),
  ),
  ...["1", "2", "", "x"].map((value) => ["connect-protocol-version", value] as const),
  ...["text/plain", "application/json; charset=utf-16", "application/grpc+xml", "/", "", ";;;"].map(
    (value) => ["content-type", value] as const,
  ),
  ...[
    "application/json;;charset=UTF-8",
    'application/json; charset="utf-8"',
    "a".repeat(5_000),
  ].map((value) => ["content-type", value] as const),
  ...[
    "mine-1",
    "a b",
    "<script>",
    "%0d%0aset-cookie: a=b",
    "x".repeat(129),
    '"}\\n{"level":60',
  ].map((value) => ["x-request-id", value] as const),
  ...["fuzz", "a b", "é", "x".repeat(129), ""].flatMap((value) =>
    ["idempotency-key", "x-idempotency-key"].map((name) => [name, value] as const),
  ),
  ...["Bearer cs_tok_0001", "Basic dGVzdDp0ZXN0", "bearer", "HMAC-SHA256 a"].map(
    (value) => ["authorization", value] as const,
  ),
  ["origin", "https://example.com"],
  ["cookie", "a=b"],
  ["x-http-method-override", "GET"],
  ["x-forwarded-for", "127.0.0.1, ::1"],
  ["forwarded", "for=127.0.0.1;proto=https"],
  ["range", "bytes=0-1"],
  ["if-none-match", "*"],
  ["expect", "a-miracle"],
  ["grpc-status", "0"],
  ["grpc-status-details-bin", "!!!!"],
  ["grpc-tags-bin", "not base64"],
  ["__proto__", "x"],
  ["x-long", "y".repeat(8_000)],
  ["sec-fetch-site", "cross-site"],
];

/** Adds, repeats, drops or replaces a few fields in one of five cases. */
export function mutateFields(fields: HeaderLines, dice: Dice, oddities: string[]): HeaderLines {
  if (dice.chance(0.8)) return fields;
  let result = fields;
  dice.times(3, () => {
    const [name, value] = dice.pick(ODD);
    oddities.push(`${name}: ${value.slice(0, 40)}`);
    const others = result.filter(([known]) => known !== name);
    result = dice.pick([
      () => [...others, [name, value] as const],
      () => [...others, [name, value] as const],
      () => [...result, [name, value] as const],
      () => result.toSpliced(dice.upTo(result.length - 1), 1),
    ])();
  });
  return result;
}
