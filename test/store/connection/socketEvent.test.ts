import net from "node:net";
import { expect, test } from "vitest";
import { socketEvent } from "../../../src/store/connection/tls.ts";

test("waits no longer for a socket that is destroyed without an error", async () => {
  const socket = new net.Socket();
  const waiting = socketEvent(socket, "connect");
  socket.destroy();
  await expect(waiting).rejects.toThrow("the connection was closed");
  expect(socket.eventNames()).not.toContain("connect");
});

test("fails with the error of the socket", async () => {
  const socket = new net.Socket();
  const waiting = socketEvent(socket, "connect");
  socket.destroy(new Error("broken"));
  await expect(waiting).rejects.toThrow("broken");
});
