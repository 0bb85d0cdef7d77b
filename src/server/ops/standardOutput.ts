/**
 * Standard output as a log needs it: whatever it is, and whoever does not read it, no write
 * to it ever holds up the event loop.
 */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { isatty } from "node:tty";

/** Where bytes can be written to. */
export interface Output {
  readonly fd: number;
  /**
   * Whether a write waits until it is done, as it does for a file. Then it must be left to
   * another thread; otherwise it fails with `EAGAIN` when there is no room.
   */
  readonly isBlocking: boolean;
  /** The most bytes that are written at once. */
  readonly chunkMaxBytes: number;
}

/**
 * A pipe takes so many bytes at once or not at all (`PIPE_BUF` of Linux), so lines are not
 * mixed with what other programs write to it.
 */
const PIPE_CHUNK_MAX_BYTES = 4_096;
/** A write to a file is not mixed with another one, whatever its size. */
const FILE_CHUNK_MAX_BYTES = 64 * 1_024;

/** Whether a person sees what is written. */
export function isTerminal(): boolean {
  return isatty(1);
}

/** Looks at what standard output is. */
export function standardOutput(): Output {
  const fd = 1;
  const stats = fstatSync(fd);
  if (stats.isFIFO() || stats.isSocket() || isatty(fd)) {
    const own = openNonBlocking(fd);
    const nonBlocking = own ?? (isatty(fd) ? undefined : sharedNonBlocking());
    if (nonBlocking !== undefined) {
      return { fd: nonBlocking, isBlocking: false, chunkMaxBytes: PIPE_CHUNK_MAX_BYTES };
    }
  }
  return { fd, isBlocking: true, chunkMaxBytes: FILE_CHUNK_MAX_BYTES };
}

/**
 * Opens the same pipe or terminal once more. What other programs do to theirs, such as a
 * shell that has the same terminal, then changes nothing here, and nothing changes for them.
 *
 * @returns `undefined` where that cannot be done: for a socket, for a pipe that belongs to
 *   another user, and on systems without `/proc`.
 */
function openNonBlocking(fd: number): number | undefined {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
  try {
    const own = openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (fstatSync(own).ino === fstatSync(fd).ino) return own;
    closeSync(own);
  } catch {
    // Whatever the reason, there is another way.
  }
  return undefined;
}

/** Node makes a pipe or socket non-blocking when its stream is asked for. */
function sharedNonBlocking(): number {
  return process.stdout.fd;
}
