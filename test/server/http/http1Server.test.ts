/** The HTTP/1.1 server by itself, for what cannot be told from its answers. */
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createConnections } from "../../../src/server/http/connections.ts";
import { createHttp1Server } from "../../../src/server/http/http1Server.ts";

/** As many of the shortest requests as one read of a socket may bring. */
const PIPELINED = "GET / HTTP/1.1\r\n\r\n".repeat(3_400);
/** Requests at once on a connection, and the one that is too many. */
const LOOKED_AT_MAX = 101;

test("looks at none of the requests that were read with the one that ended the connection", async () => {
  const connections = createConnections(() => 0);
  const { server: http1, close } = createHttp1Server(() => undefined, connections);
  let lookedAt = 0;
  http1.on("request", () => {
    lookedAt += 1;
  });
  const port = net.createServer((socket) => {
    connections.add(socket);
    http1.emit("connection", socket);
  });
  port.listen(0, "127.0.0.1");
  await once(port, "listening");
  onTestFinished(() => {
    close();
    port.close();
  });

  async function send(): Promise<void> {
    const socket = net.connect((port.address() as AddressInfo).port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(PIPELINED);
    await once(socket, "close");
  }
  await send();
  // One more is told of before the parser stops.
  expect(lookedAt).toBeLessThanOrEqual(LOOKED_AT_MAX + 1);
  // Node.js uses its parsers again, and this one begins anew.
  await send();
  expect(lookedAt).toBeGreaterThan(LOOKED_AT_MAX + 1);
});
