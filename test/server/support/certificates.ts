/** Certificates for localhost that sign themselves, made with openssl as a test needs them. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A certificate and its key, in PEM. */
export interface TestPair {
  readonly cert: string;
  readonly key: string;
}

/** How to make a key of each kind, as `openssl genpkey` is told. */
const KEYS = {
  ecdsa: ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
  rsa: ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
} as const;

const DAY_MS = 86_400_000;

/** Only `openssl ca` lets one choose the dates with OpenSSL 3.0. */
const AUTHORITY = `
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = names
x509_extensions = extensions
[names]
commonName = supplied
[extensions]
basicConstraints = critical, CA:true
subjectAltName = DNS:localhost, IP:127.0.0.1
`;

/** @param from when it begins to be valid; by default yesterday, and it ends tomorrow. */
export function makePair({
  kind = "ecdsa",
  from = new Date(Date.now() - DAY_MS),
  until = new Date(Date.now() + DAY_MS),
}: {
  readonly kind?: keyof typeof KEYS;
  readonly from?: Date;
  readonly until?: Date;
} = {}): TestPair {
  const cwd = mkdtempSync(join(tmpdir(), "countersign-pair-"));
  const openssl = (...args: readonly string[]) =>
    execFileSync("openssl", args, { cwd, stdio: "pipe", timeout: 30_000 });
  try {
    writeFileSync(join(cwd, "ca.conf"), AUTHORITY);
    writeFileSync(join(cwd, "index"), "");
    openssl("genpkey", ...KEYS[kind], "-out", "key");
    openssl("req", "-new", "-key", "key", "-subj", "/CN=localhost", "-out", "request");
    openssl(
      ...["ca", "-config", "ca.conf", "-batch", "-selfsign", "-keyfile", "key"],
      ...["-startdate", asn1Time(from), "-enddate", asn1Time(until)],
      ...["-in", "request", "-out", "cert", "-notext"],
    );
    const read = (name: string) => readFileSync(join(cwd, name), "latin1");
    return { cert: read("cert"), key: read("key") };
  } finally {
    rmSync(cwd, { recursive: true });
  }
}

/** As the other end of a connection and the log tell it. */
export function serialNumber({ cert }: TestPair): string {
  return new X509Certificate(cert).serialNumber;
}

/** Such as `20261128093000Z`. */
function asn1Time(time: Date): string {
  return `${time.toISOString().replaceAll(/[-:T]|\..*/g, "")}Z`;
}
