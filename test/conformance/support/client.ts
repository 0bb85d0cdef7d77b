/**
 * Sends a request as it is told, however odd, and keeps everything that came back.
 */
import http from "node:http";
import http2 from "node:http2";

/** The versions of HTTP that are served. */
export const HTTP_VERSIONS = ["1.1", "2"] as const;
export type HttpVersion = (typeof HTTP_VERSIONS)[number];

/** Header fields; a field with more than one value is sent more than once. */
export type Fields = Readonly<Record<string, string | readonly string[]>>;

/** A request. */
export interface WireRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Fields;
  /** The body, in pieces that are sent one by one. */
  readonly pieces: readonly Uint8Array[];
  /** How long to wait before each piece but the first, or before the only one, in milliseconds. */
  readonly pauseMs: number;
  readonly trailers: Fields | undefined;
  /** Whether the first bytes of the answer are enough, since more may come for an hour. */
  readonly isStream: boolean;
}

/** What came back. */
export interface WireAnswer {
  /** The HTTP status, or how the exchange broke off. */
  readonly status: number | string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly trailers: Readonly<Record<string, string>>;
}

/** The status of an exchange that did not come to its end. */
export const BROKEN_OFF = "broken off";

/**
 * Sends a request over HTTP/1.1 on a connection of its own. Never rejects.
 *
 * @param patienceMs how long the answer may take.
 */
export function sendHttp1(
  port: number,
  sent: WireRequest,
  patienceMs: number,
): Promise<WireAnswer> {
  return new Promise((resolve) => {
    const request = http.request({
      host: "127.0.0.1",
      port,
      agent: false,
      method: sent.method,
      path: sent.path,
      headers: sent.headers as http.OutgoingHttpHeaders,
    });
    request.setNoDelay(true);
    let answer: WireAnswer = {
      status: BROKEN_OFF,
      headers: {},
      body: Buffer.alloc(0),
      trailers: {},
    };
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        if (sent.isStream) response.destroy();
      });
      response.on("error", () => undefined);
      response.on("close", () => {
        answer = {
          status:
            response.complete || isEnough(sent, chunks) ? Number(response.statusCode) : BROKEN_OFF,
          headers: flat(response.headers),
          body: Buffer.concat(chunks),
          trailers: flat(response.trailers),
        };
        // A whole answer ends the exchange, also if the request is not whole.
        request.destroy();
      });
    });
    request.on("error", () => undefined);
    request.on("close", () => {
      clearTimeout(timer);
      resolve(answer);
    });
    const timer = setTimeout(() => request.destroy(), patienceMs);
    if (sent.trailers !== undefined) request.addTrailers(sent.trailers as http.OutgoingHttpHeaders);
    void writeAll(request, sent);
  });
}

/** The same over HTTP/2. */
export function sendHttp2(
  port: number,
  sent: WireRequest,
  patienceMs: number,
): Promise<WireAnswer> {
  return new Promise((resolve) => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on("error", () => undefined);
    const stream = session.request(
      {
        ":method": sent.method,
        ":path": sent.path,
        ...(sent.headers as http2.OutgoingHttpHeaders),
      },
      { waitForTrailers: sent.trailers !== undefined, endStream: false },
    );
    const chunks: Buffer[] = [];
    let headers: Record<string, string> = {};
    let trailers: Record<string, string> = {};
    stream.on("wantTrailers", () => {
      stream.sendTrailers((sent.trailers ?? {}) as http2.OutgoingHttpHeaders);
    });
    stream.on("response", (fields) => {
      headers = flat(fields);
    });
    stream.on("trailers", (fields) => {
      trailers = flat(fields);
    });
    stream.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      if (sent.isStream) stream.close(http2.constants.NGHTTP2_CANCEL);
    });
    stream.on("error", () => undefined);
    // A whole answer ends the exchange, also if the request is not whole.
    stream.on("end", () => stream.close());
    stream.on("close", () => {
      clearTimeout(timer);
      session.destroy();
      const { ":status": status, ...rest } = headers;
      const isWhole = isEnough(sent, chunks) || stream.rstCode === http2.constants.NGHTTP2_NO_ERROR;
      resolve({
        status: isWhole && status !== undefined ? Number(status) : BROKEN_OFF,
        headers: rest,
        body: Buffer.concat(chunks),
        trailers,
      });
    });
    const timer = setTimeout(() => session.destroy(), patienceMs);
    void writeAll(stream, sent);
  });
}

function isEnough({ isStream }: WireRequest, chunks: readonly Buffer[]): boolean {
  return isStream && chunks.length > 0;
}

async function writeAll(
  stream: http.ClientRequest | http2.ClientHttp2Stream,
  { pieces, pauseMs }: WireRequest,
): Promise<void> {
  for (const [index, piece] of pieces.entries()) {
    const isPaused = pauseMs > 0 && (index > 0 || pieces.length === 1);
    if (isPaused) {
      if ("flushHeaders" in stream) stream.flushHeaders();
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    if (stream.destroyed) return;
    await new Promise<void>((resolve) => stream.write(piece, () => resolve()));
  }
  if (!stream.destroyed) stream.end();
}

function flat(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
