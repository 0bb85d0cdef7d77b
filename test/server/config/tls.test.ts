/**
 * Certificate and key files that cannot be served with: each stops the start by a sentence that
 * names the variable, the file and the fix.
 */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError } from "../../../src/server/config/config.ts";
import { hostInCertificate, readTls } from "../../../src/server/config/tls.ts";
import { TEST_CERTIFICATE, TEST_CERTIFICATE_KEY } from "../../client/support/certificate.ts";

let directory: string;

/** Writes a file. @returns its path. */
async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

/** Runs it in the directory of the files. The command is split at its blanks. */
function openssl(command: string): Buffer {
  return execFileSync("openssl", command.split(" "), {
    cwd: directory,
    stdio: ["ignore", "pipe", "ignore"],
  });
}

let certFile: string;
let keyFile: string;
let otherKeyFile: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "countersign-tls-"));
  certFile = await file("cert.pem", TEST_CERTIFICATE);
  keyFile = await file("key.pem", TEST_CERTIFICATE_KEY);
  otherKeyFile = await file(
    "other-key.pem",
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
  );
});

afterAll(() => rm(directory, { recursive: true, force: true }));

async function faultsOf(files: { readonly certFile: string; readonly keyFile: string }) {
  const error = await readTls(files).then(
    () => expect.unreachable("the files were taken"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as Error).message).not.toContain("PRIVATE KEY-----\n");
  return (error as ConfigError).faults;
}

test("a certificate and its key are taken, also with other certificates behind it", async () => {
  const chain = await file("chain.pem", `# comment\n${TEST_CERTIFICATE}${TEST_CERTIFICATE}`);
  for (const each of [certFile, chain]) {
    expect((await readTls({ certFile: each, keyFile })).key.toString()).toBe(TEST_CERTIFICATE_KEY);
  }
});

/** What a file holds that is not what its variable asks for, and what is said of it. */
type Holding = readonly [name: string, content: () => string | Buffer, fault: string];

const HOLDINGS: Readonly<Record<"TLS_CERT_FILE" | "TLS_KEY_FILE", readonly Holding[]>> = {
  TLS_CERT_FILE: [
    ["nothing", () => "", "is empty"],
    [
      "a private key",
      () => TEST_CERTIFICATE_KEY,
      "holds a private key. Swap TLS_CERT_FILE and TLS_KEY_FILE",
    ],
    [
      "a certificate in DER",
      () => openssl("x509 -in cert.pem -outform der"),
      "is in DER, not in PEM. Convert it: openssl x509 -inform der -in ",
    ],
    [
      "PKCS #12",
      () => openssl("pkcs12 -export -in cert.pem -inkey key.pem -passout pass:x"),
      "is not in PEM. If it is PKCS #12, convert it: openssl pkcs12 -nokeys -in ",
    ],
    [
      "a request",
      () => openssl("req -new -key key.pem -subj /CN=x"),
      "holds a request for a certificate",
    ],
    [
      "a certificate cut short",
      () => TEST_CERTIFICATE.slice(0, 300),
      "holds a certificate that is damaged",
    ],
    [
      "a certificate with a bad byte",
      () => TEST_CERTIFICATE.replace("MIIB", "MIIC"),
      "holds a certificate that is damaged",
    ],
    [
      "a chain cut short",
      () => TEST_CERTIFICATE + TEST_CERTIFICATE.slice(0, 300),
      "holds a certificate that is damaged",
    ],
    [
      "more than a chain can be",
      () => TEST_CERTIFICATE + "\n".repeat(1_048_576),
      "is larger than 1 MiB",
    ],
    ["something else", () => "hello", "holds no certificate in PEM"],
  ],
  TLS_KEY_FILE: [
    ["nothing", () => "", "is empty"],
    [
      "a certificate",
      () => TEST_CERTIFICATE,
      "holds a certificate and no private key. It belongs into TLS_CERT_FILE",
    ],
    ["a public key", () => openssl("pkey -in key.pem -pubout"), "holds a public key"],
    [
      "an encrypted key",
      () => openssl("pkcs8 -topk8 -in key.pem -passout pass:x"),
      "is encrypted with a passphrase. Decrypt it: openssl pkey -in ",
    ],
    [
      "an encrypted key of the old form",
      () => openssl("ec -in key.pem -aes128 -passout pass:x"),
      "is encrypted with a passphrase",
    ],
    [
      "a key in DER",
      () => openssl("pkey -in key.pem -outform der"),
      "is in DER, not in PEM. Convert it: openssl pkey -inform der -in ",
    ],
    ["an old key in DER", () => openssl("ec -in key.pem -outform der"), "is in DER, not in PEM"],
    [
      "PKCS #12",
      () => openssl("pkcs12 -export -in cert.pem -inkey key.pem -passout pass:x"),
      "is not in PEM. If it is PKCS #12, convert it: openssl pkcs12 -nocerts -nodes -in ",
    ],
    [
      "a damaged key",
      () => TEST_CERTIFICATE_KEY.replace("MIGH", "MIGI"),
      "holds a private key that is damaged",
    ],
    [
      "more than a key can be",
      () => TEST_CERTIFICATE_KEY + "\n".repeat(1_048_576),
      "is larger than 1 MiB",
    ],
    ["something else", () => "hello", "holds no private key in PEM"],
  ],
};

describe.each(["TLS_CERT_FILE", "TLS_KEY_FILE"] as const)("%s that holds", (variable) => {
  test.each(HOLDINGS[variable])("%s is told so", async (name, content, fault) => {
    const path = await file(`${variable}-${name}`, content());
    const files = variable === "TLS_CERT_FILE" ? { certFile: path } : { keyFile: path };
    expect(await faultsOf({ certFile, keyFile, ...files })).toEqual([
      expect.stringContaining(`${variable} ${path} ${fault}`),
    ]);
  });
});

describe("files that cannot be read are named, both at once", () => {
  test("since they are missing, or directories", async () => {
    await mkdir(join(directory, "folder"), { recursive: true });
    const missing = join(directory, "missing.pem");
    const folder = join(directory, "folder");
    expect(await faultsOf({ certFile: missing, keyFile: folder })).toEqual([
      `TLS_CERT_FILE ${missing} cannot be read: there is no such file`,
      `TLS_KEY_FILE ${folder} cannot be read: it is a directory`,
    ]);
  });

  test("since they are pipes or devices, which might never end", async () => {
    const pipe = join(directory, "pipe");
    execFileSync("mkfifo", [pipe]);
    expect(await faultsOf({ certFile: pipe, keyFile: "/dev/zero" })).toEqual([
      `TLS_CERT_FILE ${pipe} is not a regular file`,
      "TLS_KEY_FILE /dev/zero is not a regular file",
    ]);
  });

  test.skipIf(process.getuid?.() === 0)("since they are closed to this account", async () => {
    const closed = await file("closed.pem", TEST_CERTIFICATE_KEY);
    await chmod(closed, 0o000);
    expect(await faultsOf({ certFile, keyFile: closed })).toEqual([
      `TLS_KEY_FILE ${closed} cannot be read: this account may not read it`,
    ]);
  });
});

test("a certificate and a key in each other's place are told to be swapped", async () => {
  expect(await faultsOf({ certFile: keyFile, keyFile: certFile })).toEqual([
    `TLS_CERT_FILE ${keyFile} holds a private key. Swap TLS_CERT_FILE and TLS_KEY_FILE`,
    `TLS_KEY_FILE ${certFile} holds a certificate and no private key. It belongs into TLS_CERT_FILE`,
  ]);
});

test("a key of another certificate is told, with both files", async () => {
  expect(await faultsOf({ certFile, keyFile: otherKeyFile })).toEqual([
    `TLS_KEY_FILE ${otherKeyFile} is not the key of the certificate in TLS_CERT_FILE ${certFile}. Set the two that were made together`,
  ]);
});

test("a chain that does not begin with the server's own certificate is told", async () => {
  const above = openssl("req -x509 -key other-key.pem -subj /CN=authority").toString();
  const chain = await file("wrong-chain.pem", above + TEST_CERTIFICATE);
  expect(await faultsOf({ certFile: chain, keyFile })).toEqual([
    expect.stringContaining(`TLS_CERT_FILE ${chain} must begin with the server's own certificate`),
  ]);
});

test("a key that is too weak for OpenSSL is told with its reason", async () => {
  openssl("req -x509 -newkey rsa:512 -nodes -keyout weak-key.pem -out weak.pem -subj /CN=x");
  const weak = { certFile: join(directory, "weak.pem"), keyFile: join(directory, "weak-key.pem") };
  expect(await faultsOf(weak)).toEqual([
    expect.stringMatching(
      /^TLS_CERT_FILE and TLS_KEY_FILE are not taken by OpenSSL: .*key too small/i,
    ),
  ]);
});

describe("the host under which clients on this machine reach the server", () => {
  const cert = (altName?: string) => {
    const extension = altName === undefined ? "" : ` -addext subjectAltName=${altName}`;
    return openssl(`req -x509 -key key.pem -subj /CN=server${extension}`);
  };

  test.each<[string | undefined, string | undefined, string | undefined]>([
    ["DNS:localhost,IP:127.0.0.1", undefined, "localhost"],
    ["IP:127.0.0.1", undefined, "127.0.0.1"],
    ["DNS:localhost", "127.0.0.1", "localhost"],
    ["IP:127.0.0.1", "127.0.0.1", "127.0.0.1"],
    ["IP:::1", "::1", "[::1]"],
    ["DNS:*.example.com,DNS:signals.example.com", undefined, "signals.example.com"],
    ["DNS:localhost,DNS:signals.example.com", "10.0.0.5", "signals.example.com"],
    ["DNS:*.example.com", undefined, undefined],
    [undefined, undefined, undefined],
  ])("%s at %s: %s", (altName, address, host) => {
    expect(hostInCertificate(cert(altName), address)).toBe(host);
  });
});
