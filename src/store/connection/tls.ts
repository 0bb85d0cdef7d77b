/**
 * TLS to PostgreSQL: the files that the URL names, and the request for TLS itself
 * (documentation, section 54.2.10).
 *
 * The driver's own way checks the certificate of a host that is an IP address against the
 * name "localhost", and goes on with TLS after the server said that it has none.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP, type Socket } from "node:net";
import tls from "node:tls";
import { DatabaseUrlError } from "./databaseUrl.ts";
import type { TlsTerms } from "./target.ts";

/** Makes a connection that was just opened one of TLS, if there is to be TLS. */
export type Secure = (socket: Socket, host: string) => Promise<Socket>;

/** Length 8, and 80877103 in the place of a protocol's version. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

const HAS_TLS = "S".charCodeAt(0);
const HAS_NO_TLS = "N".charCodeAt(0);

/**
 * Reads the files once, so that what they hold is found out at the start.
 *
 * @throws DatabaseUrlError if one cannot be read or is not what it should be.
 */
export function loadTls(terms: TlsTerms): Secure {
  if (terms.mode === "disable") return async (socket) => socket;
  const secureContext = createContext(terms);
  return async (socket, host) => {
    if (!(await askForTls(socket))) {
      if (terms.mode === "prefer") return socket;
      throw new Error(
        "it has no TLS, which sslmode in DATABASE_URL demands: set ssl = on there, or ask for less",
      );
    }
    const secured = tls.connect({
      socket,
      secureContext,
      rejectUnauthorized: terms.mode === "verify-ca" || terms.mode === "verify-full",
      checkServerIdentity: (_, certificate) =>
        terms.mode === "verify-full" ? tls.checkServerIdentity(host, certificate) : undefined,
      // Names only (RFC 6066, section 3).
      ...(isIP(host) === 0 && { servername: host }),
    });
    secured.on("error", () => undefined);
    await socketEvent(secured, "secureConnect").catch((error: NodeJS.ErrnoException) => {
      throw untrusted(error) ?? error;
    });
    return secured;
  };
}

/** The codes of Node.js for a certificate of an authority that is not trusted. */
const UNTRUSTED = /SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)/;

/** Says what to do about a certificate that is not trusted, if that is it. */
function untrusted({ code = "", message }: NodeJS.ErrnoException): Error | undefined {
  if (!UNTRUSTED.test(code)) return undefined;
  // What comes after it advises an option of Node.js that changes nothing here.
  const [what] = message.split(";");
  const advice = "name its authority in DATABASE_URL, as sslrootcert=/path/to/ca.pem";
  return Object.assign(new Error(`${what}: ${advice}`), { code });
}

/** Asks whether the server speaks TLS on this connection. */
async function askForTls(socket: Socket): Promise<boolean> {
  socket.write(SSL_REQUEST);
  // Not by "data", which would leave the socket flowing, and lose what comes next.
  await socketEvent(socket, "readable");
  const answer: Buffer | null = socket.read();
  // More than one byte would be clear text that somebody between put before the TLS
  // (CVE-2021-23222).
  if (answer?.length === 1 && answer[0] === HAS_TLS) return true;
  if (answer?.length === 1 && answer[0] === HAS_NO_TLS) return false;
  throw new Error(
    answer === null
      ? "it closed the connection when asked for TLS"
      : "it does not answer as PostgreSQL does",
  );
}

function createContext(terms: TlsTerms): tls.SecureContext {
  const { rootCertFile, client } = terms;
  const ca =
    rootCertFile === undefined || rootCertFile === "system"
      ? [...tls.getCACertificates("default"), ...tls.getCACertificates("system")]
      : readCertificate("sslrootcert", rootCertFile);
  const cert = client && readCertificate("sslcert", client.certFile);
  const key = client && readPem("sslkey", client.keyFile);
  try {
    const { minVersion, maxVersion } = terms;
    return tls.createSecureContext({ ca, minVersion, maxVersion, ...(client && { cert, key }) });
  } catch {
    throw new DatabaseUrlError([
      `has sslkey ${client?.keyFile}, which is no unencrypted private key in PEM for the certificate ${client?.certFile}`,
    ]);
  }
}

function readCertificate(parameter: string, file: string): Buffer {
  const pem = readPem(parameter, file);
  try {
    new X509Certificate(pem);
  } catch {
    throw new DatabaseUrlError([`has ${parameter} ${file}, which is no certificate in PEM`]);
  }
  return pem;
}

function readPem(parameter: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new DatabaseUrlError([`has ${parameter} ${file}, which cannot be read (${code})`]);
  }
}

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
