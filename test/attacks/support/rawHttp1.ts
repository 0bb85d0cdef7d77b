/**
 * HTTP/1.1 by the byte, to send what no client library would, and to see when the
 * server hangs up.
 */
import net from "node:net";
import { anotherAddress } from "../../support/anotherAddress.ts";

/** One header field after the other, as they stand on the wire; names may repeat. */
export type HeaderLines = readonly (readonly [string, string])[];

/** A request as bytes. Nothing is added, checked or escaped. */
export function rawRequest(
  startLine: string,
  headers: HeaderLines,
  body: Uint8Array = Buffer.alloc(0),
): Buffer {
  const lines = [startLine, ...headers.map(([name, value]) => `${name}: ${value}`), "", ""];
  return Buffer.concat([Buffer.from(lines.join("\r\n"), "latin1"), body]);
}

/** A POST with Host and Content-Length. */
export function rawPost(path: string, headers: HeaderLines, body: Uint8Array): Buffer {
  const fields: HeaderLines = [
    ["host", "localhost"],
    ["content-length", `${body.length}`],
    ...headers,
  ];
  return rawRequest(`POST ${path} HTTP/1.1`, fields, body);
}

/** What came back on a connection. */
export interface RawAnswer {
  /** All of it. */
  readonly text: string;
  /** Of the first response; `undefined` if there was none. */
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Whether the server ended the connection. */
  readonly isClosed: boolean;
}

/** How long {@link exchange} waits for an answer that may not come, in milliseconds. */
const PATIENCE_MS = 5_000;

/** When {@link exchange} has seen enough. */
export type Until = "answered" | "closed";

/**
 * Writes pieces one after the other on one connection, and reads until there is a whole
 * response, or until the server hangs up.
 */
export async function exchange(
  port: number,
  pieces: readonly Uint8Array[],
  until: Until = "answered",
  patienceMs = PATIENCE_MS,
  from = anotherAddress(),
): Promise<RawAnswer> {
  const socket = net.connect({ port, host: "127.0.0.1", localAddress: from, noDelay: true });
  const chunks: Buffer[] = [];
  let isClosed = false;
  const end = new Promise<void>((resolve) => {
    socket.setTimeout(patienceMs, resolve);
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      if (until === "answered" && isWhole(Buffer.concat(chunks).toString("latin1"))) resolve();
    });
    socket.on("error", () => undefined);
    socket.once("close", () => {
      isClosed = true;
      resolve();
    });
  });
  for (const piece of pieces) {
    if (!socket.writable) break;
    await new Promise<void>((resolve) => socket.write(piece, () => resolve()));
    // Each piece is to arrive by itself.
    if (pieces.length > 1) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await end;
  socket.destroy();
  return { ...parse(Buffer.concat(chunks).toString("latin1")), isClosed };
}

function parse(text: string): Omit<RawAnswer, "isClosed"> {
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1];
  return {
    text,
    status: status === undefined ? undefined : Number(status),
    headers: Object.fromEntries(headers),
    body: rest.join("\r\n\r\n"),
  };
}

function isWhole(text: string): boolean {
  const { status, headers, body } = parse(text);
  if (status === undefined || !text.includes("\r\n\r\n")) return false;
  if (headers["transfer-encoding"] === "chunked") return body.endsWith("0\r\n\r\n");
  return body.length >= Number(headers["content-length"] ?? 0);
}
