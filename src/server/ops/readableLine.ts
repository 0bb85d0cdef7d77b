/**
 * A line of the log for a person at a terminal: the time in UTC, the level, the message, and
 * the facts by name. Machines get the JSON. Pure.
 */
import { levels } from "pino";

/** What is the same in every line, or stands elsewhere in it. */
const NOT_AMONG_FACTS: ReadonlySet<string> = new Set([
  "level",
  "time",
  "service",
  "hostname",
  "pid",
  "msg",
]);

/** @param line of JSON, with its end. What is none, such as a warning of Node.js, stays as it is. */
export function readableLine(line: string): string {
  const entry = parse(line);
  if (entry === undefined) return line;
  const { time, level, msg } = entry;
  const facts = Object.entries(entry)
    .filter(([name]) => !NOT_AMONG_FACTS.has(name))
    .map(([name, value]) => `${plain(name)}=${factText(value)}`);
  const head = `${plain(String(time).slice(11))} ${levelName(level)} ${plain(String(msg ?? ""))}`;
  return `${[head.trimEnd(), ...facts].join("  ")}\n`;
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const isEntry = typeof value === "object" && value !== null && "level" in value;
    return isEntry ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

function levelName(level: unknown): string {
  return (levels.labels[Number(level)] ?? String(level)).toUpperCase().padEnd(5);
}

/** A text without blanks as it is, everything else as JSON. */
function factText(value: unknown): string {
  const isWord = typeof value === "string" && /^[^\s"={}]+$/.test(value);
  return plain(isWord ? value : JSON.stringify(value));
}

/** Characters that steer a terminal, or that nobody sees, are written out. */
function plain(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}
