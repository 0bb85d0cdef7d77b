/**
 * Connect JSON over HTTP/1.1, on raw sockets that are kept alive: an HTTP client would
 * cost more than the server that it measures.
 */
import net from "node:net";
import { type Credentials, signedJson } from "./signedRequest.ts";
import type { Exchange, Transport } from "./transport.ts";

/** As many sockets as there are requests at a time. */
export function jsonTransport(url: string, credentials: Credentials): Transport {
  const { hostname, port, host } = new URL(url);
  const connections: Connection[] = [];
  const idle: Connection[] = [];

  async function exchange(request: Buffer): Promise<number> {
    const connection = idle.pop() ?? open();
    const acknowledged = await connection.exchange(request);
    idle.push(connection);
    return acknowledged;
  }

  function open(): Connection {
    const connection = createConnection(Number(port), hostname);
    connections.push(connection);
    return connection;
  }

  return {
    prepare(signals): Exchange {
      const [only] = signals;
      if (only === undefined || signals.length !== 1) throw new Error("JSON takes one at a time");
      const { endpoint, body, headers } = signedJson(only, credentials);
      const head = [
        `POST ${endpoint} HTTP/1.1`,
        `host: ${host}`,
        "content-type: application/json",
        `content-length: ${body.length}`,
        ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      ];
      const request = Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]);
      return () => exchange(request);
    },
    async close() {
      for (const connection of connections) connection.close();
    },
  };
}

interface Connection {
  /** One request and its answer. @returns 1, or throws if it is not a success. */
  exchange(request: Buffer): Promise<number>;
  close(): void;
}

function createConnection(port: number, host: string): Connection {
  const socket = net.connect({ port, host, noDelay: true });
  let waiting: PromiseWithResolvers<number> | undefined;
  let received = "";

  function fail(error: Error): void {
    waiting?.reject(error);
    waiting = undefined;
  }

  socket.on("error", fail);
  socket.on("close", () => fail(new Error("the server closed the connection")));
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
    if (!isWhole(received)) return;
    const answer = received;
    received = "";
    if (!answer.startsWith("HTTP/1.1 200 ")) return fail(new Error(`refused: ${answer}`));
    waiting?.resolve(1);
    waiting = undefined;
  });

  return {
    exchange(request) {
      waiting = Promise.withResolvers();
      socket.write(request);
      return waiting.promise;
    },
    close: () => socket.destroy(),
  };
}

/** Whether these bytes are a whole answer, by its length or by its last chunk. */
function isWhole(text: string): boolean {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) return false;
  const length = /\r\ncontent-length: (\d+)/i.exec(text);
  // Connect's own adapter sends chunks. JSON has no raw line break that could end like this.
  if (length === null) return text.endsWith("\r\n0\r\n\r\n");
  return text.length >= headEnd + 4 + Number(length[1]);
}
