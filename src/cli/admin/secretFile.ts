/**
 * Files that hold a secret or a token. Their place is taken before the server makes it, so that
 * none is made and then lost, and they change as a whole or not at all.
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { parseEnv } from "node:util";
import { usageError } from "../cliError.ts";

/** A file that is about to be written. */
export interface SecretFile {
  /** As it was given. */
  readonly path: string;
  /** Puts the text there, for its owner only. @throws Error of the file system; nothing changed. */
  write(text: string): void;
  /** Leaves everything as it was. */
  discard(): void;
}

/**
 * Takes the place of a new file.
 *
 * @throws CliError if it is there already, or cannot be written.
 */
export function takeNewFile(path: string): SecretFile {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    throw usageError(writeFault(path, error));
  }
  return replacement(path, path, () => rmSync(path, { force: true }));
}

/** A producer's file whose secret is about to be replaced. */
export interface ProducerFile {
  readonly file: SecretFile;
  /** What the file is to hold, with everything else as it was. */
  withSecret(secret: string): string;
}

/**
 * Takes the place of a file that has the secret of this producer.
 *
 * @returns `undefined` if there is no such file.
 * @throws CliError if it is another one's, or cannot be written.
 */
export function takeProducerFile(path: string, producerId: string): ProducerFile | undefined {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  let target: string;
  let text: string;
  try {
    target = realpathSync(path);
    text = readFileSync(target, "utf8");
  } catch (error) {
    throw usageError(writeFault(path, error));
  }
  const { PRODUCER_ID, HMAC_PRODUCER_SECRET: old = "" } = parseEnv(text);
  if (PRODUCER_ID !== producerId) {
    throw usageError(
      `--env-file ${path} is not the file of ${producerId}: its PRODUCER_ID is not that. Give another name.`,
    );
  }
  const withSecret = (secret: string) => replaceSecret(text, secret);
  // Values can stretch over lines, which this replacing does not understand.
  if (old.includes("\n") || parseEnv(withSecret("x")).HMAC_PRODUCER_SECRET !== "x") {
    throw usageError(
      `--env-file ${path} cannot be changed, since its HMAC_PRODUCER_SECRET is not on one line. Give another name.`,
    );
  }
  return { file: replacement(path, target, () => undefined, statSync(target)), withSecret };
}

function replaceSecret(text: string, secret: string): string {
  const line = /^([ \t]*(?:export[ \t]+)?HMAC_PRODUCER_SECRET[ \t]*=)[^\r\n]*/gm;
  const replaced = text.replaceAll(line, (_, start: string) => start + secret);
  if (replaced !== text || line.test(text)) return replaced;
  const end = text === "" || text.endsWith("\n") ? "" : "\n";
  return `${text}${end}HMAC_PRODUCER_SECRET=${secret}\n`;
}

/** @param like whose owner and rights it has; its own owner only, if there is none. */
function replacement(
  path: string,
  target: string,
  undo: () => void,
  like?: { readonly uid: number; readonly gid: number; readonly mode: number },
): SecretFile {
  const temporary = `${target}.${randomBytes(4).toString("hex")}`;
  let descriptor: number | undefined;
  try {
    descriptor = openSync(temporary, "wx", 0o600);
    if (like !== undefined) {
      fchownSync(descriptor, like.uid, like.gid);
      fchmodSync(descriptor, like.mode & 0o777);
    }
  } catch (error) {
    discard();
    throw usageError(writeFault(path, error));
  }
  const opened = descriptor;

  function discard(): void {
    if (descriptor !== undefined) closeSync(descriptor);
    descriptor = undefined;
    rmSync(temporary, { force: true });
    undo();
  }

  return {
    path,
    discard,
    write(text) {
      try {
        writeSync(opened, text);
        fsyncSync(opened);
        closeSync(opened);
        descriptor = undefined;
        renameSync(temporary, target);
      } catch (error) {
        discard();
        throw error;
      }
    },
  };
}

const WORDS_BY_ERRNO: Readonly<Record<string, string>> = {
  EEXIST: "is there already. Give another name, or take it away first",
  ENOENT: "cannot be written: there is no such directory",
  ENOTDIR: "cannot be written: there is no such directory",
  EACCES: "cannot be written: you may not",
  EPERM: "cannot be written: you may not",
  EROFS: "cannot be written: its file system is read-only",
};

function writeFault(path: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return `--env-file ${path} ${WORDS_BY_ERRNO[code ?? ""] ?? `cannot be written: ${message}`}.`;
}
