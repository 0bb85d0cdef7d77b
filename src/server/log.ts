/**
 * The server's log: one JSON object a line. What it tells of an error is enough to act
 * on, but never a stack, which would show file names and, from some libraries, the
 * values that they were called with.
 */
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from "pino";
import type { ServerConfig } from "./config.ts";

/** More causes of causes than this are not told. */
const CAUSES_MAX = 5;

/** Makes the log. @param destination standard output by default. */
export function createLog(
  { logLevel, hostname }: Pick<ServerConfig, "logLevel" | "hostname">,
  destination?: DestinationStream,
): Logger {
  const options = {
    level: logLevel,
    base: { service: "countersign", hostname, pid: process.pid },
    timestamp: stdTimeFunctions.isoTime,
    serializers: { err: (error: unknown) => errorFacts(error, CAUSES_MAX) },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/** What the log tells of an error. */
interface ErrorFacts {
  readonly name: string;
  readonly message: string;
  /** Such as `ECONNREFUSED`, or a SQLSTATE. */
  readonly code?: unknown;
  readonly cause?: ErrorFacts;
}

function errorFacts(error: unknown, causesMax: number): ErrorFacts {
  if (!(error instanceof Error)) return { name: typeof error, message: String(error) };
  const { name, message, cause } = error;
  return {
    name,
    message,
    ...("code" in error && { code: error.code }),
    ...(cause !== undefined && causesMax > 0 && { cause: errorFacts(cause, causesMax - 1) }),
  };
}
