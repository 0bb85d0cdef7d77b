/**
 * Opens an outbox file for the command line, and says in words what is wrong with one.
 */

import { existsSync } from "node:fs";
import { sentence } from "../../alerts/index.ts";
import { OutboxFile } from "../../client/outbox/file.ts";
import { OutboxDamagedError, OutboxError, storageError } from "../../client/outbox/outboxError.ts";
import { failedError, unavailableError, usageError } from "../cliError.ts";

/**
 * Opens the outbox for one piece of work, a short one: its producer waits meanwhile. So only
 * what is read is judged, each record by its own checksum; the whole file is judged at the
 * start of its producer.
 *
 * @throws CliError that says what to do.
 */
export function withFile<T>(path: string, work: (outbox: OutboxFile) => T): T {
  try {
    return withOpenFile(path, work);
  } catch (error) {
    if (!(error instanceof OutboxDamagedError)) throw error;
    throw failedError(`${path} is no sound outbox: ${error.fault}. ${damageAdvice(path)}`);
  }
}

/**
 * As {@link withFile}, for those who know what to do with a damaged file.
 *
 * @throws OutboxDamagedError if it is damaged.
 * @throws CliError that says what to do, for everything else.
 */
export function withOpenFile<T>(path: string, work: (outbox: OutboxFile) => T): T {
  if (!existsSync(path)) throw usageError(`--file ${path} cannot be read: there is no such file.`);
  let outbox: OutboxFile | undefined;
  try {
    outbox = new OutboxFile(path);
    return work(outbox);
  } catch (error) {
    if (error instanceof OutboxDamagedError) throw error;
    throw terminalError(path, error);
  } finally {
    outbox?.close();
  }
}

/** An error that says what to do, for anything thrown while a file was read or written. */
export function terminalError(path: string, error: unknown): unknown {
  const failure = storageError(path, error);
  if (!(failure instanceof OutboxError)) return failure;
  const message = failure.message.replace(/^\[\w+\] /, "");
  return unavailableError(
    `${sentence(message)} See that you may read and write it, then try again.`,
  );
}

/** What becomes of a damaged file, as a sentence. */
export function damageAdvice(path: string): string {
  const original = originalPath(path);
  return original === undefined
    ? "A producer that starts on a damaged outbox sets it aside and keeps what can be read."
    : `A producer has set it aside and goes on with what it could read, in ${original}.`;
}

/** Where the outbox is from which a file was set aside; `undefined` if the file was not. */
export function originalPath(path: string): string | undefined {
  return /^(.+)\.damaged-\d{8}T\d{9}Z(-\d+)?$/s.exec(path)?.[1];
}
