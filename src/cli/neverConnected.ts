/**
 * Tells a call that never left this machine from one that was lost on its way.
 */
import { causesOf } from "../alerts/index.ts";

/** Whether there was no connection at all, over which anything could have been sent. */
export function isNeverConnected(thrown: unknown): boolean {
  return causesOf(thrown).some((cause) =>
    cause instanceof AggregateError ? cause.errors.every(isOfConnecting) : isOfConnecting(cause),
  );
}

function isOfConnecting(error: unknown): boolean {
  const { syscall } = error as NodeJS.ErrnoException;
  return syscall === "connect" || syscall === "getaddrinfo";
}
