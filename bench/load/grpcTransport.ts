/** gRPC over a few HTTP/2 connections of Node's own client. */
import { once } from "node:events";
import http2 from "node:http2";
import { acknowledgedInBatch, type Credentials, signedBinary } from "./signedRequest.ts";
import type { Exchange, Transport } from "./transport.ts";

/** A server may allow 100 streams on one connection, and an open loop may need more. */
const SESSIONS = 4;
/** The flag and the length in front of a message (gRPC over HTTP2, "Length-Prefixed-Message"). */
const ENVELOPE_BYTES = 5;

/** Calls are spread evenly over the connections. */
export async function grpcTransport(url: string, credentials: Credentials): Promise<Transport> {
  const sessions = await Promise.all(
    Array.from({ length: SESSIONS }, async () => {
      const session = http2.connect(url);
      await once(session, "connect");
      return session;
    }),
  );
  let calls = 0;

  return {
    prepare(signals): Exchange {
      const { endpoint, body, headers } = signedBinary(signals, credentials);
      const frame = framed(body);
      const head = {
        ":method": "POST",
        ":path": endpoint,
        "content-type": "application/grpc+proto",
        te: "trailers",
        ...headers,
      };
      return async () => {
        calls += 1;
        const session = sessions[calls % SESSIONS] as http2.ClientHttp2Session;
        const answer = await call(session, head, frame, signals.length > 1);
        return answer === undefined ? 1 : acknowledgedInBatch(answer.subarray(ENVELOPE_BYTES));
      };
    },
    async close() {
      await Promise.all(
        sessions.map(async (session) => {
          if (session.closed) return;
          session.close();
          await once(session, "close");
        }),
      );
    },
  };
}

/** @returns the body of the answer if it is wanted. */
function call(
  session: http2.ClientHttp2Session,
  head: http2.OutgoingHttpHeaders,
  frame: Buffer,
  isBodyWanted: boolean,
): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const stream = session.request(head);
    const chunks: Buffer[] = [];
    let grpcStatus: unknown;
    let grpcMessage: unknown;
    const readStatus = (headers: http2.IncomingHttpHeaders) => {
      grpcStatus ??= headers["grpc-status"];
      grpcMessage ??= headers["grpc-message"];
    };
    stream.on("response", readStatus);
    stream.on("trailers", readStatus);
    if (isBodyWanted) stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    else stream.resume();
    stream.on("error", reject);
    stream.on("close", () => {
      if (grpcStatus !== "0") {
        reject(new Error(`refused: grpc-status ${grpcStatus}: ${grpcMessage}`));
      } else resolve(isBodyWanted ? Buffer.concat(chunks) : undefined);
    });
    stream.end(frame);
  });
}

function framed(message: Buffer): Buffer {
  const envelope = Buffer.alloc(ENVELOPE_BYTES);
  envelope.writeUInt32BE(message.length, 1);
  return Buffer.concat([envelope, message]);
}
