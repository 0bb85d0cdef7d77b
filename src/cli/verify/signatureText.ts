/**
 * What an `x-signature` header holds, also where it is not written as it must be. Pure.
 */
import { parseSignature } from "../../signing/index.ts";

/** The outcome of {@link readSignature}. */
export interface SignatureReading {
  /** The 32 bytes; `undefined` if they cannot be made out. */
  readonly bytes: Uint8Array | undefined;
  /** What is wrong with the text, as a sentence; `undefined` if nothing is. */
  readonly fault: string | undefined;
}

const HMAC_BYTES = 32;
const RULE = "Send standard base64 with padding, 44 characters.";

/** Reads a signature as the author meant it, and tells what is wrong with its spelling. */
export function readSignature(text: string): SignatureReading {
  const strict = parseSignature(text);
  if (strict !== undefined) return { bytes: strict, fault: undefined };
  for (const { read, fault } of LENIENT_READINGS) {
    const bytes = read(text);
    if (bytes?.byteLength === HMAC_BYTES) return { bytes, fault: `${fault} ${RULE}` };
  }
  return { bytes: undefined, fault: `The signature is not the base64 of 32 bytes. ${RULE}` };
}

const LENIENT_READINGS: readonly {
  readonly read: (text: string) => Uint8Array | undefined;
  readonly fault: string;
}[] = [
  { read: (text) => parseSignature(text.trim()), fault: "The signature has blanks around it." },
  { read: fromHex, fault: "The signature is in hex." },
  {
    read: (text) => parseSignature(text.replaceAll(/%([0-9a-f]{2})/gi, percentDecoded)),
    fault: "The signature is percent-encoded, as for a URL.",
  },
  {
    read: (text) => parseSignature(`${text}=`),
    fault: "The signature lacks the padding of base64, the = at its end.",
  },
  {
    read: (text) => (/^[\w-]{43}=?$/.test(text) ? Buffer.from(text, "base64url") : undefined),
    fault: "The signature is in base64url, with - and _ in place of + and /.",
  },
  {
    read: (text) => fromHex(Buffer.from(text, "base64").toString("latin1")),
    fault: "The signature is the base64 of its hex, not of its bytes.",
  },
];

function fromHex(text: string): Uint8Array | undefined {
  return /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, "hex") : undefined;
}

function percentDecoded(_: string, hex: string): string {
  return String.fromCharCode(Number.parseInt(hex, 16));
}
