/**
 * The server's log: one JSON object a line, or on a terminal one readable line. What it tells
 * of an error is enough to act on, but never a stack, which would show file names and, from
 * some libraries, the values that they were called with.
 */
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";
import type { ServerConfig } from "../config/config.ts";
import { LogDestination } from "./logDestination.ts";
import { readableLine } from "./readableLine.ts";
import { isTerminal, standardOutput } from "./standardOutput.ts";

/** More causes of causes than this are not told. */
const CAUSES_MAX = 5;
/**
 * Of each error's message, and of its name and code, in bytes of JSON. A line with as many
 * causes as are told is then one that a pipe takes at once.
 */
const MESSAGE_MAX_BYTES = 400;
const NAME_MAX_BYTES = 60;
/** How long the end of a process may wait for its last lines to be written. */
const END_TIMEOUT_MS = 2_000;

type LogConfig = Pick<ServerConfig, "logLevel" | "hostname">;

/** How many lines were not written since the start, by why. */
export interface DroppedLines {
  /** The destination did not take them in time. */
  destination: number;
  /** There were too many requests without a proven sender. */
  unproven: number;
}

/** The log of a process. */
export interface ProcessLog {
  readonly log: Logger;
  readonly dropped: Readonly<DroppedLines>;
  /** Writes a line of another process's log. */
  readonly onLine: (line: string) => void;
  /** Counts a line of a request that was left out. */
  readonly onLeftOut: () => void;
  /** Writes what was logged. Resolves when that is done, or cannot be done, within 2 s. */
  end(): Promise<void>;
}

/** Opens the log on standard output. */
export function openProcessLog(config: LogConfig, monotonicMs: () => number): ProcessLog {
  const destination = new LogDestination({
    output: standardOutput(),
    monotonicMs,
    onRecovered: (lost) => log.warn({ lost }, "the log was written too slowly: lines were lost"),
  });
  const lines = isTerminal() ? readableLines(destination) : destination;
  const log = createLog(config, lines);
  let unproven = 0;
  return {
    log,
    dropped: {
      get destination() {
        return destination.droppedLines;
      },
      get unproven() {
        return unproven;
      },
    },
    onLine: (line) => lines.write(line),
    onLeftOut() {
      unproven += 1;
    },
    end: () => destination.end(END_TIMEOUT_MS),
  };
}

function readableLines(destination: DestinationStream): DestinationStream {
  return { write: (line) => destination.write(readableLine(line)) };
}

/** Makes a log that is written to this destination. */
export function createLog(
  { logLevel, hostname }: LogConfig,
  destination: DestinationStream,
): Logger {
  const options = {
    level: logLevel,
    base: { service: "countersign", hostname, pid: process.pid },
    timestamp: stdTimeFunctions.isoTime,
    serializers: { err: (error: unknown) => errorFacts(error, CAUSES_MAX) },
  };
  return pino(options, { write: (line) => destination.write(inert(line)) });
}

/**
 * JSON that cannot steer a terminal on which somebody reads it, nor show one text as another:
 * JSON itself escapes only the control characters of ASCII.
 *
 * @param json a line with its end.
 */
function inert(json: string): string {
  // Nearly all lines are plain ASCII, and this is much faster.
  if (!/[^\n\x20-\x7e]/.test(json)) return json;
  return json.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, index) =>
      unitEscape(character.charCodeAt(index)),
    ).join(""),
  );
}

function unitEscape(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, "0")}`;
}

/** What the log tells of an error. */
interface ErrorFacts {
  readonly name: string;
  readonly message: string;
  /** Such as `ECONNREFUSED`, or a SQLSTATE. */
  readonly code?: string;
  readonly cause?: ErrorFacts;
}

function errorFacts(error: unknown, causesMax: number): ErrorFacts {
  if (!(error instanceof Error))
    return { name: typeof error, message: cut(error, MESSAGE_MAX_BYTES) };
  const { name, message, cause } = error;
  return {
    name: cut(name, NAME_MAX_BYTES),
    message: cut(message, MESSAGE_MAX_BYTES),
    ...("code" in error && { code: cut(error.code, NAME_MAX_BYTES) }),
    ...(cause !== undefined && causesMax > 0 && { cause: errorFacts(cause, causesMax - 1) }),
  };
}

function cut(value: unknown, maxBytes: number): string {
  const text = String(value);
  let end = Math.min(text.length, maxBytes);
  while (Buffer.byteLength(inert(JSON.stringify(text.slice(0, end)))) - 2 > maxBytes) {
    end = Math.floor(end * 0.9);
  }
  return end < text.length ? `${text.slice(0, end)}…` : text;
}
