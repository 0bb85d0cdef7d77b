/**
 * The form of the secrets and tokens that Countersign makes:
 * `cs_<kind>_<id>_<random><checksum>`.
 *
 * The prefix lets scanners recognise one that leaked, the id is public and stands in lists
 * and logs, and the checksum tells a typo from a secret that is not known, before anything
 * is sent or looked up.
 */
import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/** What a credential is for: `sec` signs signals, `tok` reads, reviews and administers. */
export type CredentialKind = "sec" | "tok";

/** The parts of a credential that may be shown. */
export interface CredentialParts {
  readonly kind: CredentialKind;
  /** Public. Letters and digits of ASCII. */
  readonly id: string;
}

/** What a text is that should be a credential. */
export type CredentialReading =
  | ({ readonly form: "whole" } & CredentialParts)
  /** It begins like one, but a character was lost, added or changed. */
  | { readonly form: "damaged" }
  /** It is no text of Countersign's making. */
  | { readonly form: "foreign" };

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH = 12;
const RANDOM_BYTES = 32;
/** What 256 bits take in base 62. */
const RANDOM_LENGTH = 43;
/** What 32 bits take in base 62. */
const CHECKSUM_LENGTH = 6;

const PREFIX = /^cs_(?:sec|tok)_/;
const WHOLE = new RegExp(
  `^cs_(sec|tok)_([0-9A-Za-z]{${ID_LENGTH}})_[0-9A-Za-z]{${RANDOM_LENGTH + CHECKSUM_LENGTH}}$`,
);

/** A new credential, from the system's secure random source, and its parts. */
export function generateCredential(
  kind: CredentialKind,
): CredentialParts & { readonly text: string } {
  const id = base62(randomBytes(16)).slice(-ID_LENGTH);
  const body = `cs_${kind}_${id}_${base62(randomBytes(RANDOM_BYTES)).padStart(RANDOM_LENGTH, "0")}`;
  return { kind, id, text: body + checksumOf(body) };
}

/** Reads a text as a credential. Says nothing of whether anybody knows it. */
export function readCredential(text: string): CredentialReading {
  if (!PREFIX.test(text)) return { form: "foreign" };
  const [, kind, id] = WHOLE.exec(text) ?? [];
  const body = text.slice(0, -CHECKSUM_LENGTH);
  if (kind === undefined || id === undefined || !text.endsWith(checksumOf(body))) {
    return { form: "damaged" };
  }
  return { form: "whole", kind: kind as CredentialKind, id };
}

/** What each kind is, and how it begins. */
const NAMES: Readonly<Record<CredentialKind, string>> = {
  sec: "a producer's secret (cs_sec_…)",
  tok: "a token (cs_tok_…)",
};

/**
 * What shows already in a text that should be a credential of this kind: that it is one of the
 * other kind, or that it has a typo. Of a text of any other form nothing shows, since producers
 * may have secrets that were made by hand.
 *
 * @returns a phrase without the text, for after its name; `undefined` if nothing is wrong.
 */
export function credentialFault(text: string, kind: CredentialKind): string | undefined {
  // What stands around it came with it when it was copied.
  const bare = text.replaceAll(/^[\s"'`]+|[\s"'`]+$/g, "");
  const other = kind === "sec" ? "tok" : "sec";
  if (bare.startsWith(`cs_${other}_`)) return `is ${NAMES[other]}, and must be ${NAMES[kind]}`;
  const reading = readCredential(bare);
  if (reading.form === "foreign") return undefined;
  const name = kind === "sec" ? "secret" : "token";
  if (reading.form === "damaged") {
    return `is a Countersign ${name} with a typo: its checksum is wrong`;
  }
  return bare === text ? undefined : `has blanks or quotes around a Countersign ${name}`;
}

/** CRC-32 (as in ISO 3309) of all that stands before it. It guards against typos only. */
function checksumOf(body: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(body));
  return base62(bytes).padStart(CHECKSUM_LENGTH, "0");
}

/** The bytes as one whole number in base 62, without leading zeros. */
function base62(bytes: Uint8Array): string {
  let rest = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  while (rest > 0n) {
    text = DIGITS[Number(rest % 62n)] + text;
    rest /= 62n;
  }
  return text;
}
