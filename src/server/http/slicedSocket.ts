/**
 * A connection of which only a little is read at a time. What a caller sends with one read is
 * otherwise parsed whole before anything of it can be counted: 64 KiB hold 800 streams that are
 * opened and reset, and cost 30 ms each time that somebody connects.
 */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/** About 40 of the smallest streams, opened and reset; and most requests whole. */
const SLICE_BYTES = 2_048;

/** Reads from a socket one slice in each turn of the event loop. */
export class SlicedSocket extends Duplex {
  readonly #socket: Socket;
  readonly #isWhole: () => boolean;
  #isWanted = false;
  #isResting = false;

  /** @param isWhole whether all that is there may be read at once by now. */
  constructor(socket: Socket, isWhole: () => boolean) {
    super();
    this.#socket = socket;
    this.#isWhole = isWhole;
    socket.on("readable", () => this.#feed());
    socket.once("end", () => this.push(null));
    socket.once("error", (error) => this.destroy(error));
    socket.once("close", () => this.destroy());
  }

  override _read(): void {
    this.#isWanted = true;
    this.#feed();
  }

  #feed(): void {
    if (!this.#isWanted || this.#isResting) return;
    const { readableLength } = this.#socket;
    const size = this.#isWhole() ? readableLength : Math.min(SLICE_BYTES, readableLength);
    const slice: Buffer | null = size === 0 ? this.#socket.read() : this.#socket.read(size);
    if (slice === null) return;
    this.#isWanted = false;
    this.#isResting = true;
    setImmediate(() => {
      this.#isResting = false;
      this.#feed();
    });
    this.push(slice);
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
