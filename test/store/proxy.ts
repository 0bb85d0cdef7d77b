/** A TCP proxy in front of PostgreSQL that can fail in the ways a network does. */
import { once } from "node:events";
import net from "node:net";

export interface FaultyProxy extends AsyncDisposable {
  /** The URL that leads through the proxy. */
  readonly url: string;
  /** How many connections clients hold. */
  readonly openConnections: number;
  /** From now on nothing is forwarded, on old and new connections, but nothing is closed. */
  stall(): void;
  /** From now on connections are accepted and closed at once; the old ones are cut. */
  cut(): void;
  /** Forwards again, also what was held back. */
  heal(): void;
}

export async function startFaultyProxy(targetUrl: string): Promise<FaultyProxy> {
  const target = new URL(targetUrl);
  const pairs = new Set<{ readonly client: net.Socket; readonly server: net.Socket }>();
  let state: "healthy" | "stalled" | "cut" = "healthy";

  const listener = net.createServer((client) => {
    if (state === "cut") {
      client.destroy();
      return;
    }
    const server = net.connect(Number(target.port), target.hostname);
    const pair = { client, server };
    pairs.add(pair);
    for (const socket of [client, server]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        client.destroy();
        server.destroy();
        pairs.delete(pair);
      });
    }
    client.on("data", (chunk) => server.write(chunk));
    server.on("data", (chunk) => client.write(chunk));
    if (state === "stalled") {
      server.pause();
    }
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");

  const url = new URL(targetUrl);
  url.port = String((listener.address() as net.AddressInfo).port);

  return {
    url: url.href,
    get openConnections() {
      return pairs.size;
    },
    stall() {
      state = "stalled";
      for (const { server } of pairs) {
        server.pause();
      }
    },
    cut() {
      state = "cut";
      for (const { client } of pairs) {
        client.destroy();
      }
    },
    heal() {
      state = "healthy";
      for (const { server } of pairs) {
        server.resume();
      }
    },
    async [Symbol.asyncDispose]() {
      for (const { client } of pairs) {
        client.destroy();
      }
      listener.close();
      await once(listener, "close");
    },
  };
}
