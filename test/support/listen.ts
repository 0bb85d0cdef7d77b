import { once } from "node:events";
import type net from "node:net";

/** A server that a test made. It ends when it is disposed of, and drops its connections. */
export interface Listening extends AsyncDisposable {
  readonly port: number;
  /** With http, whatever it speaks. */
  readonly url: string;
}

/** Lets a server listen on a free port of this machine. */
export async function listen(server: net.Server): Promise<Listening> {
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
