/** Signatures, right and wrong. */
import { createHmac, hash } from "node:crypto";
import { formatTimestamp } from "../../src/signing/index.ts";
import { TEST_SECRET } from "../support/server.ts";
import type { Dice } from "./dice.ts";
import { mutateBytes } from "./mutate/bytes.ts";

/** What is to be signed. */
export interface ToProve {
  readonly path: string;
  readonly message: Buffer;
  readonly producerId: string;
  readonly nowMs: number;
}

/** The header fields that prove who asks, or do not. */
export interface Proof {
  readonly headers: Readonly<Record<string, string>>;
  /** The message as it is sent: changed, if it was changed after it was signed. */
  readonly message: Buffer;
  readonly isValid: boolean;
}

/** Each says what is wrong with it. All of them are refused, or there is a row too many. */
const WRONG_PROOFS: Readonly<
  Record<string, (asked: ToProve, dice: Dice) => Omit<Proof, "isValid">>
> = {
  "no signature": ({ message }) => ({ headers: {}, message }),
  "changed after it was signed": (asked, dice) => ({
    headers: headersOf(asked),
    message: unlike(asked.message, mutateBytes(asked.message, dice)),
  }),
  "of another path": (asked) => ({
    headers: headersOf({ ...asked, path: `${asked.path}/` }),
    message: asked.message,
  }),
  "of another secret": (asked) => ({
    headers: headersOf(asked, { secret: `${TEST_SECRET}.` }),
    message: asked.message,
  }),
  "a field of it changed": (asked, dice) => {
    const headers = headersOf(asked);
    const name = dice.pick(["x-signature", "x-timestamp", "x-producer-id"]);
    const value = headers[name] ?? "";
    // What is left of a header field is what can stand in one.
    const changed = mutateBytes(Buffer.from(value), dice)
      .toString("latin1")
      .replace(/[^!-~]/g, "");
    return {
      headers: { ...headers, [name]: changed === value ? `${value}=` : changed },
      message: asked.message,
    };
  },
  "a field of it missing": (asked, dice) => {
    const { [dice.pick(["x-signature", "x-timestamp", "x-producer-id"])]: _, ...headers } =
      headersOf(asked);
    return { headers, message: asked.message };
  },
  "too old or too new": (asked, dice) => ({
    headers: headersOf({
      ...asked,
      nowMs: asked.nowMs + dice.pick([-1, 1]) * dice.pick([310_000, 1e9, 1e12]),
    }),
    message: asked.message,
  }),
  "at a time that is none": (asked, dice) => {
    const time = timestampOf(asked.nowMs);
    const timestamp = dice.pick([
      ...["", "now", time.replace("T", " "), time.toLowerCase(), time.replace("Z", "")],
      ...[
        time.replace("Z", "+24:00"),
        `${Math.floor(asked.nowMs / 1_000)}`,
        time.replace("Z", "0000000000Z"),
      ],
    ]);
    return { headers: headersOf(asked, { timestamp }), message: asked.message };
  },
  "of nobody": (asked, dice) => ({
    headers: headersOf({
      ...asked,
      producerId: dice.pick(["nobody", "__proto__", "Test-bot", "-", "a".repeat(65)]),
    }),
    message: asked.message,
  }),
};

/** Signs a message: rightly three times out of four. */
export function proofOf(asked: ToProve, dice: Dice, oddities: string[]): Proof {
  if (dice.chance(0.75))
    return { headers: headersOf(asked), message: asked.message, isValid: true };
  const what = dice.pick(Object.keys(WRONG_PROOFS));
  oddities.push(`signature: ${what}`);
  return { ...(WRONG_PROOFS[what] as (typeof WRONG_PROOFS)[string])(asked, dice), isValid: false };
}

/** The tokens that the server knows. */
export interface KnownTokens {
  /** May administer one producer. */
  readonly admin: string;
  /** May not administer. */
  readonly reader: string;
  readonly expired: string;
}

/** Each says what is wrong with it. */
const WRONG_TOKENS: Readonly<Record<string, (tokens: KnownTokens, dice: Dice) => string>> = {
  none: () => "",
  "without its scope": ({ reader }) => `Bearer ${reader}`,
  expired: ({ expired }) => `Bearer ${expired}`,
  changed: ({ admin }, dice) => {
    const changed = mutateBytes(Buffer.from(admin), dice).toString("latin1");
    const text = changed.replace(/[^!-~]/g, "");
    return `Bearer ${text === admin ? `${text}0` : text}`;
  },
  "of another scheme": ({ admin }, dice) => `${dice.pick(["Basic", "Token", "Bearer:"])} ${admin}`,
  twice: ({ admin }) => `Bearer ${admin}, Bearer ${admin}`,
  "a secret": () => `Bearer ${TEST_SECRET}`,
};

/** The header field that proves who calls with a token: rightly three times out of four. */
export function tokenFieldOf(
  tokens: KnownTokens,
  dice: Dice,
  oddities: string[],
): { readonly field: readonly [string, string]; readonly isValid: boolean } {
  const fieldOf = (value: string) => ["authorization", value] as const;
  if (dice.chance(0.75)) return { field: fieldOf(`Bearer ${tokens.admin}`), isValid: true };
  const what = dice.pick(Object.keys(WRONG_TOKENS));
  oddities.push(`token: ${what}`);
  const value = (WRONG_TOKENS[what] as (typeof WRONG_TOKENS)[string])(tokens, dice);
  return { field: fieldOf(value), isValid: false };
}

/** By hand, since the project's own signer signs nothing that is malformed. */
function headersOf(
  { path, message, producerId, nowMs }: ToProve,
  { timestamp = timestampOf(nowMs), secret = TEST_SECRET } = {},
): Record<string, string> {
  const bodySha256 = hash("sha256", message, "base64");
  const stringToSign = `METHOD:POST\nENDPOINT:${path}\nTIMESTAMP:${timestamp}\nPRODUCER_ID:${producerId}\nBODY_SHA256:${bodySha256}`;
  const signature = createHmac("sha256", secret).update(stringToSign).digest("base64");
  return { "x-producer-id": producerId, "x-timestamp": timestamp, "x-signature": signature };
}

function timestampOf(nowMs: number): string {
  return formatTimestamp(BigInt(nowMs) * 1_000_000n);
}

function unlike(before: Buffer, after: Buffer): Buffer {
  return after.equals(before) ? Buffer.concat([after, Buffer.from(" ")]) : after;
}
