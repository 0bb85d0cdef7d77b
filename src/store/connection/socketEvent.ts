import type { Socket } from "node:net";

/**
 * Waits for an event of a socket. Unlike `once` of node:events, it does not wait for ever if
 * the socket is destroyed without an error.
 *
 * @throws Error if the socket fails or closes before.
 */
export function socketEvent(socket: Socket, name: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onClose = () => reject(new Error("the connection was closed"));
  socket.once(name, resolve).once("error", reject).once("close", onClose);
  return promise.finally(() => {
    socket.off(name, resolve).off("error", reject).off("close", onClose);
  });
}
