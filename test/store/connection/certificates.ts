/** Certificates that a test makes with openssl. They protect nothing but that test. */
import { execFileSync } from "node:child_process";
import { chown, writeFile } from "node:fs/promises";
import path from "node:path";
import { chooseAccount } from "../../../src/store/embedded/account.ts";

/** A certificate and its key, as PEM files. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

const P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];

/** An authority. @returns its files. */
export function makeAuthority(dir: string, name: string): CertificateFiles {
  const files = filesOf(dir, name);
  openssl([
    "req",
    "-x509",
    ...P256,
    "-subj",
    `/CN=${name}`,
    "-keyout",
    files.key,
    "-out",
    files.cert,
  ]);
  return files;
}

/** A certificate from an authority. @param names as in `subjectAltName`. */
export async function makeCertificate(
  dir: string,
  commonName: string,
  names: string,
  authority: CertificateFiles,
): Promise<CertificateFiles> {
  const files = filesOf(dir, commonName);
  const extensions = `${files.cert}.ext`;
  await writeFile(extensions, `subjectAltName=${names}\n`);
  const request = `${files.cert}.csr`;
  openssl(["req", ...P256, "-subj", `/CN=${commonName}`, "-keyout", files.key, "-out", request]);
  openssl([
    ...["x509", "-req", "-in", request, "-days", "2", "-CA", authority.cert],
    ...["-CAkey", authority.key, "-CAcreateserial", "-extfile", extensions, "-out", files.cert],
  ]);
  return files;
}

/** PostgreSQL takes only a key that belongs to its account. */
export async function giveToPostgres(...files: string[]): Promise<void> {
  const account = await chooseAccount(undefined);
  if (account === undefined) return;
  for (const file of files) await chown(file, account.uid, account.gid);
}

function filesOf(dir: string, name: string): CertificateFiles {
  return { cert: path.join(dir, `${name}.crt`), key: path.join(dir, `${name}.key`) };
}

function openssl(args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: "pipe", timeout: 30_000 });
}
