/**
 * The secrets that tests use, as canaries: each is known, so that it is found wherever it shows.
 * Those that Countersign makes itself need not be known, since their form gives them away.
 *
 * What is searched is never kept, and a finding says what was found, never the value.
 */

/** What a secret is for. */
export type CanaryKind =
  | "producer's secret"
  | "token"
  | "master key"
  | "database password"
  | "Telegram token"
  | "webhook's secret";

/** Shorter texts, such as the wrong values that tests try, are found where no secret is. */
const LENGTH_MIN = 12;
/** Of the secrets that are made as the run goes on, so many are looked for, the newest. */
const PASSING_MAX = 24;
/** More than any form of a secret has, without blanks. */
const TAIL_LENGTH = 512;

/** The beginnings of what Countersign makes, and the kind of each. */
const PREFIXES = [
  ["cs_sec_", "producer's secret"],
  ["cs_tok_", "token"],
] as const;
/** One that Countersign made, also if its end is missing. The id in it is public. */
const CREDENTIAL = /cs_(?:sec|tok)_(?<id>[0-9A-Za-z]{12})_[0-9A-Za-z]{8}/.source;

/**
 * What stands before a secret where it is told on purpose: a field of its own of JSON, of
 * protobuf (after a length of 69), or of a file with an environment.
 */
const TOLD = /(?:"(?:secret|token)":"|E|HMAC_PRODUCER_SECRET=|COUNTERSIGN_TOKEN=)$/;

const lasting = new Map<string, CanaryKind>();
const passing = new Map<string, CanaryKind>();
let search: Search | undefined;

/** Looks for a text from now on. @returns the text. */
export function planted(kind: CanaryKind, text: string): string {
  lasting.set(text, kind);
  search = undefined;
  return text;
}

const KINDS_BY_VARIABLE: Readonly<Record<string, CanaryKind>> = {
  HMAC_PRODUCER_SECRET: "producer's secret",
  COUNTERSIGN_TOKEN: "token",
  COUNTERSIGN_MASTER_KEY: "master key",
  COUNTERSIGN_PREVIOUS_MASTER_KEY: "master key",
  TELEGRAM_BOT_TOKEN: "Telegram token",
};

/** Looks for the secrets of an environment from now on. */
export function plantEnvironment(env: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(env)) {
    const kind = KINDS_BY_VARIABLE[name];
    if (kind !== undefined) plantPassing(kind, value);
  }
  plantPassing("database password", passwordOf(env.DATABASE_URL));
}

/** The password in a URL, if it has one. */
export function passwordOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : decodeURIComponent(URL.parse(url)?.password ?? "");
}

function plantPassing(kind: CanaryKind, text: string | undefined): void {
  if (text === undefined || text.length < LENGTH_MIN || isMade(text)) return;
  if (lasting.has(text) || passing.has(text)) return;
  passing.set(text, kind);
  const [oldest] = passing.keys();
  if (passing.size > PASSING_MAX && oldest !== undefined) passing.delete(oldest);
  search = undefined;
}

function isMade(text: string): boolean {
  return PREFIXES.some(([prefix]) => text.startsWith(prefix));
}

/** What gave a secret away. */
export interface Leak {
  readonly kind: CanaryKind;
  /** How it was written. */
  readonly form: string;
}

/** A text that comes in parts. */
export interface Searched {
  /** The secrets in it that were not told before. */
  leaksIn(part: string | Uint8Array): Leak[];
}

/**
 * Searches a text that comes in parts.
 *
 * @param toldOnce what was told so far, for a text that may tell a new secret, once; it then
 *   grows by the ids. Without it no secret may be told.
 */
export function searchParts(toldOnce?: Set<string>): Searched {
  let tail = "";
  return {
    leaksIn(part) {
      const text = tail + withoutBlanks(textOf(part));
      const isFound = ({ index, 0: { length } }: RegExpExecArray) => index + length > tail.length;
      const leaks = [...text.matchAll(currentSearch().pattern)]
        .filter(isFound)
        .filter((match) => !isTold(match, toldOnce))
        .map((match) => leakOf(match[0]));
      tail = text.slice(-TAIL_LENGTH);
      return leaks;
    },
  };
}

/** The secrets in a text. */
export function leaksIn(text: string | Uint8Array): Leak[] {
  return searchParts().leaksIn(text);
}

function isTold({ input, index, groups }: RegExpExecArray, told: Set<string> | undefined): boolean {
  const id = groups?.id;
  if (told === undefined || id === undefined || told.has(id)) return false;
  if (!TOLD.test(input.slice(Math.max(0, index - 32), index))) return false;
  told.add(id);
  return true;
}

function leakOf(found: string): Leak {
  const known = currentSearch().leaks.get(found);
  if (known !== undefined) return known;
  return { kind: found.startsWith("cs_sec_") ? "producer's secret" : "token", form: "plain" };
}

/** Bytes that are no text are kept apart, whatever their encoding is. */
function textOf(part: string | Uint8Array): string {
  return typeof part === "string" ? part : Buffer.from(part).toString("latin1");
}

/** Without what splits a text over lines, sets bytes apart, or escapes in JSON. */
function withoutBlanks(text: string): string {
  return text.replaceAll(/\s+|\\+[nrt]?/g, "");
}

interface Search {
  /** Matches all that is looked for. */
  readonly pattern: RegExp;
  /** By what matches. */
  readonly leaks: ReadonlyMap<string, Leak>;
}

function currentSearch(): Search {
  search ??= prepareSearch();
  return search;
}

function prepareSearch(): Search {
  const leaks = new Map<string, Leak>();
  for (const [text, kind] of [...lasting, ...passing]) {
    for (const [form, written] of formsOf(text, kind)) leaks.set(written, { kind, form });
  }
  for (const [prefix, kind] of PREFIXES) {
    // Written plainly, it says no more than of which form secrets are.
    for (const [form, written] of formsOf(prefix, kind)) {
      if (written !== prefix) leaks.set(written, { kind, form });
    }
  }
  const forms = [...leaks.keys()].map((form) => RegExp.escape(form));
  return { pattern: new RegExp([CREDENTIAL, ...forms].join("|"), "g"), leaks };
}

/** The ways in which a secret may be written, each with its name. */
function formsOf(text: string, kind: CanaryKind): [form: string, written: string][] {
  const forms: [form: string, written: string][] = [
    ["URL-encoded", encodeURIComponent(text)],
    ["plain", text],
    ...encodingsOf(Buffer.from(text)),
  ];
  if (kind === "master key") forms.push(...encodingsOf(Buffer.from(text, "base64")));
  return forms.map(([form, written]) => [form, withoutBlanks(written)]);
}

function encodingsOf(bytes: Buffer): [form: string, written: string][] {
  const hex = bytes.toString("hex");
  return [
    ["hexadecimal", hex],
    ["hexadecimal", hex.toUpperCase()],
    ["bytes", bytes.join(",")],
    ...[0, 1, 2].flatMap((offset): [string, string][] => {
      const base64 = base64At(offset, bytes);
      return [
        ["base64", base64],
        ["base64", base64.replaceAll("+", "-").replaceAll("/", "_")],
      ];
    }),
  ];
}

/** What base64 makes of bytes after so many others, without what those before and after touch. */
function base64At(offset: number, bytes: Buffer): string {
  const encoded = Buffer.concat([Buffer.alloc(offset), bytes]).toString("base64");
  const first = Math.ceil((offset * 8) / 6);
  return encoded.slice(first, Math.floor(((offset + bytes.length) * 8) / 6));
}
