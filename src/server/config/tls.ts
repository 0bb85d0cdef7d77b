/**
 * The certificate and key of the server: read and judged together before anything listens, so
 * that a wrong file stops the start with a sentence that names the variable, the file and the
 * fix. OpenSSL's own errors name none of them.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { isLoopbackAddress, urlHost } from "../http/host.ts";
import { secureContextOptions, type TlsMaterial } from "../http/tlsOptions.ts";
import { ConfigError } from "./config.ts";

/** Where the certificate and the key are. */
export interface TlsFiles {
  /** The server's own certificate and then those above it, in PEM. */
  readonly certFile: string;
  /** Its private key, in PEM, without a passphrase. */
  readonly keyFile: string;
}

/**
 * Reads both files.
 *
 * @throws ConfigError naming each variable that is wrong, but nothing of what a file holds.
 */
export async function readTls({ certFile, keyFile }: TlsFiles): Promise<TlsMaterial> {
  const [cert, key] = await Promise.all([
    readAs("TLS_CERT_FILE", certFile, chainIn),
    readAs("TLS_KEY_FILE", keyFile, keyIn),
  ]);
  const faults = [cert, key].flatMap(({ fault }) => fault ?? []);
  if (faults.length > 0) throw new ConfigError(faults);
  const material = { cert: cert.bytes, key: key.bytes };
  const fault = pairFault(cert.content as Chain, key.content as KeyObject, { certFile, keyFile });
  if (fault !== undefined) throw new ConfigError([fault]);
  try {
    createSecureContext(secureContextOptions(material));
  } catch (error) {
    const why = (error as Error).message;
    throw new ConfigError([`TLS_CERT_FILE and TLS_KEY_FILE are not taken by OpenSSL: ${why}`]);
  }
  return material;
}

/** Certificates in the order of their file, at least one. */
type Chain = readonly [X509Certificate, ...X509Certificate[]];

/** A file that holds what it should, or what is wrong with it, as a phrase. */
type Judgement<Content> =
  | { readonly content: Content; readonly fault?: undefined }
  | { readonly content?: undefined; readonly fault: string };

async function readAs<Content>(
  variable: string,
  file: string,
  judge: (bytes: Buffer, file: string) => Judgement<Content>,
): Promise<Judgement<Content> & { readonly bytes: Buffer }> {
  let bytes = Buffer.alloc(0);
  let judgement: Judgement<Content>;
  try {
    bytes = await readFile(file);
    judgement = bytes.length === 0 ? { fault: "is empty" } : judge(bytes, file);
  } catch (error) {
    judgement = { fault: `cannot be read: ${fileFault(error)}` };
  }
  if (judgement.fault === undefined) return { ...judgement, bytes };
  return { fault: `${variable} ${file} ${judgement.fault}`, bytes };
}

/** The system's own texts name a call. */
const WORDS_BY_ERRNO: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this account may not read it",
  EISDIR: "it is a directory",
};

function fileFault(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return WORDS_BY_ERRNO[code ?? ""] ?? message;
}

const PEM_CERTIFICATE = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/;
const PEM_CERTIFICATES =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;
const PEM_REQUEST = /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----/;
const PEM_PRIVATE_KEY = /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/;
const PEM_PUBLIC_KEY = /-----BEGIN (?:[A-Z]+ )?PUBLIC KEY-----/;
/** PKCS #8 (RFC 5958), and the older form of OpenSSL (RFC 1421). */
const ENCRYPTED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/;
/** How each structure in DER begins, PKCS #12 too: ASN.1's SEQUENCE. */
const DER_SEQUENCE = 0x30;

function chainIn(bytes: Buffer, file: string): Judgement<Chain> {
  const text = bytes.toString("latin1");
  if (PEM_CERTIFICATE.test(text)) {
    const [first, ...others] = (text.match(PEM_CERTIFICATES) ?? []).map(certificateOf);
    if (first !== undefined && ![first, ...others].includes(undefined)) {
      return { content: [first, ...others] as unknown as Chain };
    }
    return { fault: "holds a certificate that is damaged" };
  }
  if (PEM_PRIVATE_KEY.test(text) || ENCRYPTED.test(text)) {
    return { fault: "holds a private key. Swap TLS_CERT_FILE and TLS_KEY_FILE" };
  }
  if (PEM_REQUEST.test(text)) {
    return { fault: "holds a request for a certificate, not the certificate that was issued" };
  }
  if (certificateOf(bytes) !== undefined) {
    return { fault: `is in DER, not in PEM. Convert it: openssl x509 -inform der -in ${file}` };
  }
  if (bytes[0] === DER_SEQUENCE) {
    return {
      fault: `is not in PEM. If it is PKCS #12, convert it: openssl pkcs12 -nokeys -in ${file}`,
    };
  }
  return { fault: "holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----" };
}

function certificateOf(encoded: string | Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(encoded);
  } catch {
    return undefined;
  }
}

function keyIn(bytes: Buffer, file: string): Judgement<KeyObject> {
  const text = bytes.toString("latin1");
  if (ENCRYPTED.test(text)) {
    return { fault: `is encrypted with a passphrase. Decrypt it: openssl pkey -in ${file}` };
  }
  if (PEM_PRIVATE_KEY.test(text)) {
    const key = keyOf({ key: bytes });
    return key === undefined ? { fault: "holds a private key that is damaged" } : { content: key };
  }
  if (PEM_CERTIFICATE.test(text)) {
    return { fault: "holds a certificate and no private key. It belongs into TLS_CERT_FILE" };
  }
  if (PEM_PUBLIC_KEY.test(text)) {
    return { fault: "holds a public key; the private key is needed" };
  }
  if (
    (["pkcs8", "pkcs1", "sec1"] as const).some((type) => keyOf({ key: bytes, format: "der", type }))
  ) {
    return { fault: `is in DER, not in PEM. Convert it: openssl pkey -inform der -in ${file}` };
  }
  if (bytes[0] === DER_SEQUENCE) {
    return {
      fault: `is not in PEM. If it is PKCS #12, convert it: openssl pkcs12 -nocerts -nodes -in ${file}`,
    };
  }
  return { fault: "holds no private key in PEM, which begins with -----BEGIN PRIVATE KEY-----" };
}

function keyOf(input: Parameters<typeof createPrivateKey>[0]): KeyObject | undefined {
  try {
    return createPrivateKey(input);
  } catch {
    return undefined;
  }
}

/** What is wrong between a certificate and a key that are each sound. */
function pairFault(
  [own, ...others]: Chain,
  key: KeyObject,
  { certFile, keyFile }: TlsFiles,
): string | undefined {
  if (own.checkPrivateKey(key)) return undefined;
  if (others.some((certificate) => certificate.checkPrivateKey(key))) {
    return `TLS_CERT_FILE ${certFile} must begin with the server's own certificate, the one of TLS_KEY_FILE; those above it follow`;
  }
  return `TLS_KEY_FILE ${keyFile} is not the key of the certificate in TLS_CERT_FILE ${certFile}. Set the two that were made together`;
}

/**
 * A host under which clients on this machine reach a server at this address, so that its
 * certificate holds for it; `undefined` if it names none.
 *
 * @param address the IP address that is listened on; `undefined` stands for all of this machine.
 */
export function hostInCertificate(cert: Buffer, address: string | undefined): string | undefined {
  const own = new X509Certificate(cert);
  if (address !== undefined && own.checkIP(address) !== undefined) return urlHost(address);
  if (address === undefined || isLoopbackAddress(address)) {
    if (own.checkHost("localhost") !== undefined) return "localhost";
    if (address === undefined && own.checkIP("127.0.0.1") !== undefined) return "127.0.0.1";
  }
  // Such as `DNS:signals.example.com, DNS:*.example.com, IP Address:10.0.0.5`.
  const names = (own.subjectAltName ?? "").matchAll(/\bDNS:([A-Za-z0-9.-]+)(?:,|$)/g);
  return [...names].map(([, name]) => name).find((name) => name !== "localhost");
}
