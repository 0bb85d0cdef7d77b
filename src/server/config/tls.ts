/**
 * The certificate and key of the server: read and judged together, before anything listens and
 * when they have changed, so that a wrong file is told by a sentence that names the variable,
 * the file and the fix. OpenSSL's own errors name none of them.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { isLoopbackAddress, urlHost } from "../http/host.ts";
import { secureContextOptions, type TlsMaterial } from "../http/tlsOptions.ts";
import { ConfigError } from "./config.ts";
import { type FileContent, readSmallFile } from "./smallFile.ts";

/** Where the certificate and the key are. */
export interface TlsFiles {
  /** The server's own certificate and then those above it, in PEM. */
  readonly certFile: string;
  /** Its private key, in PEM, without a passphrase. */
  readonly keyFile: string;
}

/** A certificate and the key that belongs to it. */
export interface TlsPair extends TlsMaterial {
  /** The server's own certificate. */
  readonly own: X509Certificate;
}

/** What is in both files. */
export interface TlsContents {
  readonly cert: FileContent;
  readonly key: FileContent;
}

/** What a file, or both, should hold, or what is wrong. */
type Judgement<Content, Fault = string> =
  | { readonly content: Content; readonly fault?: undefined }
  | { readonly content?: undefined; readonly fault: Fault };

/**
 * Reads both files, and judges them.
 *
 * @throws ConfigError naming each variable that is wrong, but nothing of what a file holds.
 */
export async function readTls(files: TlsFiles): Promise<TlsPair> {
  const { content, fault } = judgeTls(await readTlsFiles(files), files);
  if (content === undefined) throw new ConfigError(fault);
  return content;
}

/** Reads both files. Never rejects. */
export async function readTlsFiles({ certFile, keyFile }: TlsFiles): Promise<TlsContents> {
  const [cert, key] = await Promise.all([readSmallFile(certFile), readSmallFile(keyFile)]);
  return { cert, key };
}

/** Whether they can be served with. A fault is a sentence for each variable that is wrong. */
export function judgeTls(
  contents: TlsContents,
  files: TlsFiles,
): Judgement<TlsPair, readonly string[]> {
  const cert = judgeFile("TLS_CERT_FILE", files.certFile, contents.cert, chainIn);
  const key = judgeFile("TLS_KEY_FILE", files.keyFile, contents.key, keyIn);
  if (cert.fault !== undefined || key.fault !== undefined) {
    return { fault: [cert, key].flatMap(({ fault }) => fault ?? []) };
  }
  const fault = pairFault(cert.content, key.content, files);
  if (fault !== undefined) return { fault: [fault] };
  // Without a fault there are bytes.
  const material = { cert: contents.cert.bytes as Buffer, key: contents.key.bytes as Buffer };
  try {
    createSecureContext(secureContextOptions(material));
  } catch (error) {
    const why = (error as Error).message;
    return { fault: [`TLS_CERT_FILE and TLS_KEY_FILE are not taken by OpenSSL: ${why}`] };
  }
  return { content: { ...material, own: cert.content[0] } };
}

function judgeFile<Content>(
  variable: string,
  file: string,
  { bytes, fault }: FileContent,
  judge: (bytes: Buffer, file: string) => Judgement<Content>,
): Judgement<Content> {
  if (bytes === undefined) return { fault: `${variable} ${file} ${fault}` };
  const judged: Judgement<Content> =
    bytes.length === 0 ? { fault: "is empty" } : judge(bytes, file);
  return judged.fault === undefined ? judged : { fault: `${variable} ${file} ${judged.fault}` };
}

/** Certificates in the order of their file, at least one. */
type Chain = readonly [X509Certificate, ...X509Certificate[]];

const PEM_CERTIFICATE = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/g;
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
  const begun = text.match(PEM_CERTIFICATE)?.length ?? 0;
  if (begun > 0) {
    const certificates = (text.match(PEM_CERTIFICATES) ?? []).map(certificateOf);
    // One that has no end was cut off, such as by a program that is still writing.
    if (certificates.length < begun || certificates.includes(undefined)) {
      return { fault: "holds a certificate that is damaged" };
    }
    return { content: certificates as unknown as Chain };
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
  if (text.search(PEM_CERTIFICATE) !== -1) {
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
