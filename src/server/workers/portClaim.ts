/**
 * A port that may be shared can be shared by mistake: with a server that was forgotten, or
 * with one that starts at the same moment. Signals would then go now to the one and now
 * to the other, and to two databases if they have two.
 */
import { hash } from "node:crypto";
import { once } from "node:events";
import net from "node:net";

/** Where processes are to listen. */
export interface SharedPort {
  readonly host: string;
  /** Not 0. */
  readonly port: number;
}

/** A port that no other server shares as long as this is held. */
export interface PortClaim {
  /** Lets others have it. The end of this process does so, too. */
  release(): void;
}

/**
 * Claims a port for processes that will share it.
 *
 * @throws Error from the operating system if another program has it or claims it.
 */
export async function claimPort(shared: SharedPort): Promise<PortClaim> {
  const claim = net.createServer((socket) => socket.destroy());
  // Between the look at the port and the first worker that listens, another server could
  // look, too. So a name is taken first, which goes with the process however that ends. It
  // is Linux's (unix(7), "Abstract sockets"); elsewhere the operations port must tell.
  if (process.platform === "linux") await listening(claim, { path: claimName(shared) });
  // Whoever connects to it has no business here, and must not end the process.
  claim.on("error", () => undefined);
  try {
    await assertIsFree(shared);
  } catch (error) {
    claim.close();
    throw error;
  }
  return { release: () => void claim.close() };
}

/** Such a name has at most 107 bytes, and a host may have 253. */
function claimName({ host, port }: SharedPort): string {
  return `\0countersign ${hash("sha256", `${host} ${port}`)}`;
}

/** It must be free for one that does not share it. */
async function assertIsFree({ host, port }: SharedPort): Promise<void> {
  const server = net.createServer();
  await listening(server, { host, port });
  server.close();
  await once(server, "close");
}

async function listening(server: net.Server, options: net.ListenOptions): Promise<void> {
  server.listen(options);
  await once(server, "listening");
}
