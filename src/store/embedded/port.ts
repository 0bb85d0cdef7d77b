/**
 * The port that a starting server gets.
 *
 * A server that died had clients, and they know its port: it should come back there.
 * Whether that port is free is not asked before the first attempt, since asking means
 * binding it, and that would get in the way of another process that starts the same server.
 */
import { once } from "node:events";
import net from "node:net";

export interface PortChoice {
  /** Names the port of the server that died, unless one is known already. 0 is none. */
  prefer(port: number): void;
  /** The port for the next attempt to start. */
  choose(): Promise<number>;
}

/** After how many attempts that found the preferred port taken it is given up. */
const MAX_TIMES_TAKEN = 4;

/** @param knownPort where this process knew the server before. */
export function createPortChoice(knownPort = 0): PortChoice {
  let preferred = knownPort;
  let isFirstAttempt = true;
  let timesTaken = 0;

  return {
    prefer(port) {
      preferred ||= port;
    },

    async choose() {
      if (preferred !== 0 && !isFirstAttempt && !(await isFree(preferred))) {
        timesTaken += 1;
      }
      isFirstAttempt = false;
      return preferred !== 0 && timesTaken < MAX_TIMES_TAKEN ? preferred : bindPort(0);
    },
  };
}

async function isFree(port: number): Promise<boolean> {
  return bindPort(port).then(
    () => true,
    () => false,
  );
}

/**
 * Binds a port on 127.0.0.1 and lets it go.
 *
 * @param port 0 for any that is free.
 * @returns its number.
 */
async function bindPort(port: number): Promise<number> {
  const server = net.createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  const { port: bound } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return bound;
}
