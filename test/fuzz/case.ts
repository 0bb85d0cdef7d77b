/**
 * The cases: each is made from a seed and its own number alone, but for the time at which its
 * requests are signed, which has to be now.
 */
import { Dice } from "./dice.ts";
import { http1Bytes, spoiltHttp1 } from "./mutate/http1.ts";
import { http2Bytes, spoiltHttp2 } from "./mutate/http2.ts";
import { type FuzzRequest, type Making, makeRequest } from "./request.ts";
import type { Port } from "./targets.ts";

/** What goes into one connection. */
export interface FuzzCase {
  readonly number: number;
  readonly port: Port;
  readonly version: "1.1" | "2";
  readonly bytes: Buffer;
  /** Where the bytes are cut, so that they come in pieces. */
  readonly cuts: readonly number[];
  /** Whether the connection is reset as soon as all is sent, so that nothing is answered. */
  readonly isReset: boolean;
  /** What the bytes ask for; if they are not whole, what they were made of. */
  readonly requests: readonly FuzzRequest[];
  /** Whether each request is whole by the rules of HTTP, so that each must be answered. */
  readonly isWhole: boolean;
}

/** A quarter of all cases is wrong by the rules of HTTP; the others get further. */
const WHOLE_SHARE = 0.75;
const MANY_MAX = 4;
/** What may be sent over HTTP/2 before the server asks for more (RFC 9113, section 6.9.2). */
const WINDOW_BYTES = 65_535;

/** Makes a case. */
export function makeCase(seed: number, number: number, making: Making): FuzzCase {
  const dice = new Dice(seed, number);
  // A few have a key that others have, too: for the same signal, or for another.
  const key = dice.chance(0.05) ? `shared-${dice.upTo(20)}` : `fuzz-${seed}-${number}`;
  const first = makeRequest(`${key}-0`, making, dice);
  const { port } = first.target;
  const version = first.protocol === "gRPC" || dice.chance(0.4) ? "2" : "1.1";
  const isMeantWhole = dice.chance(WHOLE_SHARE);
  // What is on one connection has one port.
  const others = { ...making, targets: making.targets.filter((target) => target.port === port) };
  const count = dice.chance(0.8) ? 0 : dice.upTo(MANY_MAX - 1);
  const requests = [
    first,
    ...Array.from({ length: count }, (_, index) =>
      makeRequest(`${key}-${index + 1}`, others, dice),
    ),
  ];
  const bodyBytes = requests.reduce((sum, { body }) => sum + body.length, 0);
  const isWhole = isMeantWhole && (version === "1.1" || bodyBytes <= WINDOW_BYTES);
  const hidden = makeRequest(`${key}-hidden`, others, dice);
  const bytes = bytesOf();
  const cuts = Array.from({ length: dice.chance(0.2) ? 1 + dice.upTo(2) : 0 }, () =>
    dice.upTo(dice.chance(0.5) ? 30 : bytes.length),
  );
  const isReset = !isWhole && dice.chance(0.1);
  return { number, port, version, bytes, cuts, isReset, requests, isWhole };

  function bytesOf(): Buffer {
    if (version === "2") return (isWhole ? http2Bytes : spoiltHttp2)(requests, dice);
    const whole = requests.map((request) => http1Bytes(request, dice));
    // Behind bytes that are wrong, nobody can say where a request begins.
    if (isWhole) return Buffer.concat(whole);
    return Buffer.concat([...whole.slice(1), spoiltHttp1(first, hidden, dice)]);
  }
}
