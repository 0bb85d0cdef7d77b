/**
 * A TCP proxy in front of a database or a server that fails as networks do: it holds bytes
 * back, slows them down, loses those of one direction, forgets connections without a word,
 * resets them, or refuses new ones.
 */
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";

/** A proxy that works until it is told to fail. */
export interface FaultyProxy {
  /** The same URL by way of the proxy. */
  readonly url: string;
  /** How many connections clients hold. */
  readonly openConnections: number;
  /** From now on no byte passes, on old connections and new ones. None is lost. */
  stall(): void;
  /** From now on each piece of what is sent arrives so many milliseconds late. None is lost. */
  slow(delayMs: number): void;
  /**
   * From now on the other side hears everything and no answer of it arrives. The connections
   * of this time stay mute after {@link heal}, since what they lost is lost.
   */
  loseAnswers(): void;
  /** From now on the other side hears nothing, though it could answer. Else as above. */
  loseRequests(): void;
  /** Open connections pass no byte any more and are never closed; new ones work. */
  abandon(): void;
  /** Resets open connections; new ones work. */
  reset(): void;
  /** Resets open connections, and each new one when the client has spoken so many times. */
  breakAfter(clientMessages: number): void;
  /** Resets open connections and refuses new ones. */
  refuse(): void;
  /** Works again. */
  heal(): Promise<void>;
  /** Where new connections go from now on. */
  retarget(url: string): void;
  close(): Promise<void>;
}

interface Link {
  readonly client: net.Socket;
  readonly upstream: net.Socket;
  /** Whether nothing passes any more, for good. */
  isAbandoned: boolean;
  /** Whether the answers are lost, for good. */
  isMute: boolean;
  /** Whether the requests are lost, for good. */
  isDeaf: boolean;
}

/** Starts a proxy to the database or server of a URL. */
export async function startProxy(targetUrl: string): Promise<FaultyProxy> {
  const links = new Set<Link>();
  let target = addressOf(targetUrl);
  let fault: "none" | "stalled" | "mute" | "deaf" = "none";
  let delayMs = 0;
  const resting = new Set<net.Socket>();
  let messagesMax = Number.POSITIVE_INFINITY;

  // What is written is little, so it may pile up where the other side does not read.
  const server = net.createServer((client) => {
    const upstream = net.connect(target.port, target.host);
    const [isMute, isDeaf] = [fault === "mute", fault === "deaf"];
    const link: Link = { client, upstream, isAbandoned: false, isMute, isDeaf };
    links.add(link);
    let messages = 0;
    client.on("data", (chunk) => {
      if (messages >= messagesMax) resetLink(link);
      else if (!link.isDeaf) pass(chunk, client, upstream, link);
      messages += 1;
    });
    upstream.on("data", (chunk) => {
      if (!link.isMute) pass(chunk, upstream, client, link);
    });
    client.once("close", () => {
      links.delete(link);
      upstream.destroySoon();
    });
    upstream.once("close", () => client.destroySoon());
    for (const socket of [client, upstream]) {
      // What an error would tell is known from "close".
      socket.on("error", () => undefined);
      if (fault === "stalled") socket.pause();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = new URL(targetUrl);
  url.hostname = "127.0.0.1";
  url.port = String(port);

  /** Nothing overtakes a piece that is late, since its source rests meanwhile. */
  function pass(chunk: Buffer, from: net.Socket, to: net.Socket, link: Link): void {
    if (delayMs === 0) {
      to.write(chunk);
      return;
    }
    from.pause();
    resting.add(from);
    setTimeout(() => {
      resting.delete(from);
      if (to.writable) to.write(chunk);
      if (fault !== "stalled" && !link.isAbandoned) from.resume();
    }, delayMs);
  }

  function reset(): void {
    for (const link of links) resetLink(link);
  }

  return {
    url: url.href,
    get openConnections() {
      return links.size;
    },
    stall() {
      fault = "stalled";
      for (const link of links) pause(link);
    },
    slow(newDelayMs) {
      delayMs = newDelayMs;
    },
    loseAnswers() {
      fault = "mute";
      for (const link of links) link.isMute = true;
    },
    loseRequests() {
      fault = "deaf";
      for (const link of links) link.isDeaf = true;
    },
    abandon() {
      for (const link of links) {
        link.isAbandoned = true;
        pause(link);
      }
    },
    reset,
    breakAfter(clientMessages) {
      messagesMax = clientMessages;
      reset();
    },
    refuse() {
      server.close();
      reset();
    },
    async heal() {
      fault = "none";
      delayMs = 0;
      messagesMax = Number.POSITIVE_INFINITY;
      if (!server.listening) {
        server.listen(port, "127.0.0.1");
        await once(server, "listening");
      }
      for (const link of links) {
        if (link.isAbandoned) continue;
        for (const socket of [link.client, link.upstream]) {
          if (!resting.has(socket)) socket.resume();
        }
      }
    },
    retarget(newUrl) {
      target = addressOf(newUrl);
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const { client, upstream } of links) {
        client.destroy();
        upstream.destroy();
      }
      await closed;
    },
  };
}

function resetLink({ client, upstream }: Link): void {
  client.resetAndDestroy();
  upstream.destroy();
}

function pause({ client, upstream }: Link): void {
  client.pause();
  upstream.pause();
}

function addressOf(url: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port || 5432) };
}
