/** Reads what an operator or this server keeps in a file, without waiting for anybody. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";

/** What is in a file, or why that is not known, as a phrase. */
export type FileContent =
  | { readonly bytes: Buffer; readonly fault?: undefined }
  | { readonly bytes?: undefined; readonly fault: string; readonly isMissing?: boolean };

/** A chain of certificates has some 10 KB, a key less. */
const FILE_MAX_BYTES = 1_048_576;

/** Reads a regular file of up to 1 MiB. Never rejects. */
export async function readSmallFile(file: string): Promise<FileContent> {
  try {
    // Whoever opens a pipe would otherwise wait for somebody who writes to it.
    await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (!stat.isFile() && !stat.isDirectory()) return { fault: "is not a regular file" };
    const chunks: Buffer[] = [];
    const stream = handle.createReadStream({ end: FILE_MAX_BYTES, autoClose: false });
    for await (const chunk of stream) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    return bytes.length > FILE_MAX_BYTES ? { fault: "is larger than 1 MiB" } : { bytes };
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return { fault: `cannot be read: ${fileFault(error)}`, isMissing };
  }
}

/** The system's own texts name a call. */
const WORDS_BY_ERRNO: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this account may not read it",
  EISDIR: "it is a directory",
};

function fileFault(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return WORDS_BY_ERRNO[code ?? ""] ?? message;
}
