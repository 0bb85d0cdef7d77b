/**
 * Finds out why a port of this machine hangs up on cleartext: a TLS server says nothing to it.
 */
import { connect } from "node:tls";

/** Enough for a handshake on this machine; a server that takes longer is not what is wrong. */
const PROBE_TIMEOUT_MS = 1_000;

/** Whether a handshake with the port of a URL succeeds. Nothing is sent over it. */
export function speaksTls(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    // Whose certificate it is does not matter: that there is one is the answer.
    const socket = connect({ host, port: Number(port || 80), rejectUnauthorized: false });
    const end = (speaks: boolean) => {
      socket.destroy();
      resolve(speaks);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => end(false));
    socket.once("secureConnect", () => end(true));
    socket.once("error", () => end(false));
    socket.once("close", () => end(false));
  });
}
