/**
 * What is read of a stranger's connection at a time, over real sockets.
 */
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { SlicedSocket } from "../../../src/server/http/slicedSocket.ts";

const SLICE_BYTES = 2_048;

/** Both ends of a connection. */
async function connection(): Promise<{ client: net.Socket; server: net.Socket }> {
  const listener = net.createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const client = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const [server] = (await once(listener, "connection")) as [net.Socket];
  listener.close();
  onTestFinished(() => {
    client.destroy();
    server.destroy();
  });
  return { client, server };
}

const CONTENT = Buffer.from(Array.from({ length: 50_000 }, (_, index) => index % 251));

test("a slice of it is read in a turn of the event loop, and nothing is lost or changed", async () => {
  const { client, server } = await connection();
  client.end(CONTENT);
  const slices: Buffer[] = [];
  const turns = new Set<number>();
  let turn = 0;
  let immediate = setImmediate(function next() {
    turn += 1;
    immediate = setImmediate(next);
  });
  onTestFinished(() => clearImmediate(immediate));
  const sliced = new SlicedSocket(server, () => false);
  sliced.on("data", (slice: Buffer) => {
    slices.push(slice);
    turns.add(turn);
  });
  await once(sliced, "end");
  expect(Buffer.concat(slices)).toEqual(CONTENT);
  expect(Math.max(...slices.map(({ length }) => length))).toBe(SLICE_BYTES);
  expect(turns.size).toBe(slices.length);
});

test("all that is there is read at once as soon as that is allowed", async () => {
  const { client, server } = await connection();
  client.end(CONTENT);
  let isWhole = false;
  const sliced = new SlicedSocket(server, () => isWhole);
  const slices: Buffer[] = [];
  sliced.on("data", (slice: Buffer) => {
    slices.push(slice);
    isWhole = true;
  });
  await once(sliced, "end");
  expect(Buffer.concat(slices)).toEqual(CONTENT);
  expect(slices[0]?.length).toBe(SLICE_BYTES);
  expect(Math.max(...slices.map(({ length }) => length))).toBeGreaterThan(SLICE_BYTES);
});

test("what is written arrives whole, and its end ends the connection", async () => {
  const { client, server } = await connection();
  const sliced = new SlicedSocket(server, () => false);
  sliced.resume();
  sliced.end(CONTENT);
  expect(await buffer(client)).toEqual(CONTENT);
  client.end();
  await once(sliced, "close");
  expect(server.destroyed).toBe(true);
});

test("a connection that is reset, or destroyed from either side, is gone on the other", async () => {
  const first = await connection();
  const sliced = new SlicedSocket(first.server, () => false);
  // Not by "once" of node:events, which rejects at an error.
  const closed = new Promise((resolve) => sliced.once("close", resolve));
  sliced.on("error", () => undefined);
  sliced.resume();
  first.client.resetAndDestroy();
  await closed;
  const second = await connection();
  second.client.resume();
  new SlicedSocket(second.server, () => false).destroy();
  await once(second.client, "end");
});
