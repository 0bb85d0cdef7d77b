/** Mutations of bytes that know nothing of what they mean. */
import type { Dice } from "../dice.ts";

/** Bytes at which readers of any format tend to change their mind. */
const TELLING_BYTES = [
  0x00, 0x01, 0x0a, 0x0d, 0x20, 0x22, 0x2c, 0x3a, 0x5c, 0x7b, 0x7f, 0x80, 0xff,
];

/** What is no UTF-8: a lone continuation, an overlong NUL, a surrogate, beyond U+10FFFF, cut off. */
export const NOT_UTF8 = ["80", "c080", "eda080", "f4908080", "e282"].map((hex) =>
  Buffer.from(hex, "hex"),
);

type Mutation = (bytes: Buffer, dice: Dice) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  function flipBit(bytes, dice) {
    const at = dice.upTo(bytes.length - 1);
    const flipped = Buffer.from(bytes);
    if (bytes.length > 0) flipped[at] = (bytes[at] as number) ^ (1 << dice.upTo(7));
    return flipped;
  },
  function setByte(bytes, dice) {
    const set = Buffer.from(bytes);
    if (bytes.length > 0) set[dice.upTo(bytes.length - 1)] = dice.pick(TELLING_BYTES);
    return set;
  },
  (bytes, dice) => splice(bytes, dice.upTo(bytes.length), 0, dice.bytes(1 + dice.upTo(8))),
  (bytes, dice) => splice(bytes, dice.upTo(bytes.length), 0, dice.pick(NOT_UTF8)),
  (bytes, dice) => splice(bytes, dice.upTo(bytes.length), 1 + dice.upTo(8)),
  (bytes, dice) => bytes.subarray(0, dice.upTo(bytes.length)),
  (bytes, dice) => bytes.subarray(dice.upTo(bytes.length)),
  function repeatPart(bytes, dice) {
    const start = dice.upTo(bytes.length);
    const part = bytes.subarray(start, start + 1 + dice.upTo(32));
    const times = dice.chance(0.1) ? 500 : 1;
    return splice(bytes, start, 0, Buffer.concat(Array.from({ length: times }, () => part)));
  },
  function swapParts(bytes, dice) {
    const middle = dice.upTo(bytes.length);
    return Buffer.concat([bytes.subarray(middle), bytes.subarray(0, middle)]);
  },
  (_, dice) => dice.bytes(dice.upTo(64)),
];

/** Changes bytes in one place. */
export function mutateBytes(bytes: Uint8Array, dice: Dice): Buffer {
  return dice.pick(MUTATIONS)(Buffer.from(bytes), dice);
}

/** Takes `count` bytes out at a place, and puts others there. */
export function splice(bytes: Buffer, at: number, count: number, put?: Uint8Array): Buffer {
  const rest = bytes.subarray(Math.min(bytes.length, at + count));
  return Buffer.concat([bytes.subarray(0, at), put ?? Buffer.alloc(0), rest]);
}
