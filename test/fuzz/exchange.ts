/** Puts the bytes of a case into a connection, and reads what comes back. */
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { WireAnswer } from "../conformance/support/client.ts";
import { readHttp1 } from "./answers/http1.ts";
import { framesOf, hasBegun, isOver, readHttp2 } from "./answers/http2.ts";
import type { FuzzCase } from "./case.ts";

/** What came back. */
export interface Exchange {
  /** If the case is whole, one for each request, in order: `undefined` if it was not answered. */
  readonly answers: readonly (WireAnswer | undefined)[];
  /** Everything that came, to search for what must not be there. */
  readonly bytes: Buffer;
  /** Whether the server had hung up in time after its caller had. */
  readonly isClosed: boolean;
}

/** Each piece is to arrive by itself. */
const PIECE_PAUSE_MS = 3;
/** How long whole requests may wait for their answers: only a server that hangs needs longer. */
const PATIENCE_MS = 20_000;
/** What is not whole may never be answered: so long is waited for bytes, then for more of them. */
const FIRST_BYTES_MS = 150;
const MORE_BYTES_MS = 25;
/**
 * How long the server may take to hang up after its caller has: at once, unless Node.js does not
 * tell it. Then it waits as long as for a caller that says nothing.
 */
const CLOSE_TIMEOUT_MS = 20_000;

/** @throws Error if what came back is not well-formed. */
export async function exchange(one: FuzzCase, port: number): Promise<Exchange> {
  const came = await talk(one, port);
  const methods = one.requests.map(({ method }) => method);
  if (one.version === "2") {
    const asked = one.requests.map((request) => ({
      method: request.method,
      isEndless: one.isWhole && isEndless(request),
    }));
    const answers = await readHttp2(came.bytes, asked);
    const streams = methods.map((_, index) => 2 * index + 1);
    const inOrder = streams.map((stream) => answers.get(stream));
    return { ...came, answers: one.isWhole ? inOrder : [...answers.values()] };
  }
  const { answers, rest } = readHttp1(came.bytes, one.isWhole ? methods : undefined);
  const next = one.requests[answers.length];
  if (one.isWhole && next !== undefined && isEndless(next) && rest.length > 0) {
    // An answer without an end is cut off where its caller hung up, behind one of its chunks.
    const cut = readHttp1(Buffer.concat([rest, Buffer.from("0\r\n\r\n")]), [next.method]);
    answers.push(...cut.answers);
  }
  if (answers.length > methods.length && one.isWhole) throw new Error("an answer too many");
  return { ...came, answers: one.isWhole ? methods.map((_, index) => answers[index]) : answers };
}

function talk(one: FuzzCase, port: number): Promise<Pick<Exchange, "bytes" | "isClosed">> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    let timer = setTimeout(hangUp, one.isWhole ? PATIENCE_MS : FIRST_BYTES_MS);
    let isHungUp = false;
    function hangUp(): void {
      clearTimeout(timer);
      if (isHungUp) return;
      isHungUp = true;
      timer = setTimeout(() => finish(false), CLOSE_TIMEOUT_MS);
      // Who hangs up in the middle of a request that was answered may be told of that, too.
      void written.then(() => socket.end());
    }
    function finish(isClosed: boolean): void {
      clearTimeout(timer);
      socket.destroy();
      resolve({ bytes: Buffer.concat(chunks), isClosed });
    }
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      if (isHungUp) return;
      if (one.isWhole) {
        if (isAnswered(one, Buffer.concat(chunks))) hangUp();
      } else {
        clearTimeout(timer);
        timer = setTimeout(hangUp, MORE_BYTES_MS);
      }
    });
    socket.on("error", () => undefined);
    socket.once("end", () => {
      isHungUp = true;
      socket.end();
    });
    socket.once("close", () => finish(true));
    const written = writeInPieces(one, socket).then(() => {
      if (!one.isReset) return;
      socket.resetAndDestroy();
      finish(true);
    });
  });
}

async function writeInPieces(one: FuzzCase, socket: net.Socket): Promise<void> {
  const ends = [...one.cuts, one.bytes.length].sort((a, b) => a - b);
  for (const [index, end] of ends.entries()) {
    if (index > 0) await sleep(PIECE_PAUSE_MS);
    if (!socket.writable) return;
    await new Promise<void>((written) =>
      socket.write(one.bytes.subarray(ends[index - 1] ?? 0, end), () => written()),
    );
  }
}

/** Whether all answers are there; of one that has no end, its beginning. */
function isAnswered(one: FuzzCase, bytes: Buffer): boolean {
  try {
    if (one.version === "2") {
      const sent = framesOf(bytes);
      return one.requests.every((request, index) => {
        const stream = 2 * index + 1;
        return isOver(sent, stream) || (isEndless(request) && hasBegun(sent, stream));
      });
    }
    const methods = one.requests.map(({ method }) => method);
    const { answers, rest } = readHttp1(bytes, methods);
    const next = one.requests[answers.length];
    return (
      next === undefined ||
      (isEndless(next) && rest.includes("\r\n\r\n") && !rest.subarray(-9).includes("\r\n\r\n"))
    );
  } catch {
    return true;
  }
}

/** Whether the answer to it may never end. */
export function isEndless({ target }: FuzzCase["requests"][number]): boolean {
  return target.rpc !== undefined && target.rpc.methodKind !== "unary";
}
