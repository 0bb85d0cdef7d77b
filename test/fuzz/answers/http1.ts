/** Reads the answers of a connection of HTTP/1.1, and takes nothing that is not well-formed. */
import type { WireAnswer } from "../../conformance/support/client.ts";

/** The answers that came whole, and the bytes behind them. */
export interface Http1Answers {
  readonly answers: WireAnswer[];
  readonly rest: Buffer;
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5]\d\d) [ -~]*$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~\x80-\xff]*)$/;
const HEAD_END = "\r\n\r\n";

/**
 * @param methods those of the requests, one after the other: the answer to HEAD has no body.
 *   Without them, an answer that has none is taken for one to HEAD.
 * @throws Error if what came is no answer.
 */
export function readHttp1(bytes: Buffer, methods?: readonly string[]): Http1Answers {
  const answers: WireAnswer[] = [];
  let rest = bytes;
  for (;;) {
    const next = readOne(
      rest,
      methods === undefined ? undefined : (methods[answers.length] ?? "POST"),
    );
    if (next === undefined) return { answers, rest };
    rest = rest.subarray(next.length);
    if (next.answer.status !== 100) answers.push(next.answer);
  }
}

function readOne(bytes: Buffer, method: string | undefined) {
  const headEnd = bytes.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const [statusLine = "", ...lines] = bytes.toString("latin1", 0, headEnd).split("\r\n");
  const status = Number(STATUS_LINE.exec(statusLine)?.[1]);
  if (Number.isNaN(status)) throw new Error(`no status line: ${JSON.stringify(statusLine)}`);
  const headers = fieldsOf(lines);
  const start = headEnd + HEAD_END.length;
  const isBodiless =
    bytes.length === start || bytes.toString("latin1", start, start + 5) === "HTTP/";
  const isToHead = method === "HEAD" || (method === undefined && isBodiless);
  const body =
    isToHead || status === 100
      ? { bytes: Buffer.alloc(0), trailers: {}, end: start }
      : bodyOf(bytes, start, headers);
  if (body === undefined) return undefined;
  const answer: WireAnswer = { status, headers, body: body.bytes, trailers: body.trailers };
  return { answer, length: body.end };
}

function bodyOf(all: Buffer, start: number, headers: Readonly<Record<string, string>>) {
  if (headers["transfer-encoding"] === "chunked") return chunksOf(all, start);
  // As HTTP/1.0 and older have it: the body ends with the connection.
  const isToTheEnd = headers.connection === "close" && headers["content-length"] === undefined;
  if (isToTheEnd) return { bytes: all.subarray(start), trailers: {}, end: all.length };
  const length = Number(headers["content-length"]);
  if (!/^\d+$/.test(headers["content-length"] ?? "")) throw new Error("a body of no length");
  const end = start + length;
  return end > all.length ? undefined : { bytes: all.subarray(start, end), trailers: {}, end };
}

function chunksOf(all: Buffer, start: number) {
  const chunks: Buffer[] = [];
  for (let at = start; ; ) {
    const lineEnd = all.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = all.toString("latin1", at, lineEnd);
    if (!/^[0-9a-f]+$/i.test(size)) throw new Error(`a chunk of no size: ${size}`);
    const end = lineEnd + 2 + Number.parseInt(size, 16);
    if (end === lineEnd + 2) return trailersOf(all, lineEnd, Buffer.concat(chunks));
    if (end + 2 > all.length) return undefined;
    if (all.toString("latin1", end, end + 2) !== "\r\n") throw new Error("a chunk without its end");
    chunks.push(all.subarray(lineEnd + 2, end));
    at = end + 2;
  }
}

/** What follows the last chunk, whose line ends at `lineEnd`. */
function trailersOf(all: Buffer, lineEnd: number, bytes: Buffer) {
  const end = all.indexOf(HEAD_END, lineEnd);
  if (end < 0) return undefined;
  const lines = all.toString("latin1", lineEnd + 2, Math.max(end, lineEnd + 2)).split("\r\n");
  return {
    bytes,
    trailers: fieldsOf(lines.filter((line) => line !== "")),
    end: end + HEAD_END.length,
  };
}

function fieldsOf(lines: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const line of lines) {
    const [, name = "", value = ""] = FIELD.exec(line) ?? [];
    if (name === "") throw new Error(`no header field: ${JSON.stringify(line)}`);
    if (name.toLowerCase() in fields) throw new Error(`twice: ${JSON.stringify(line)}`);
    fields[name.toLowerCase()] = value;
  }
  return fields;
}
