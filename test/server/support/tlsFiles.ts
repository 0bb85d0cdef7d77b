import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TEST_CERTIFICATE, TEST_CERTIFICATE_KEY } from "../../client/support/certificate.ts";
import { temporaryDirectory } from "../../support/temporaryDirectory.ts";
import type { TestPair } from "./certificates.ts";

const TEST_PAIR: TestPair = { cert: TEST_CERTIFICATE, key: TEST_CERTIFICATE_KEY };

/** Settings that make a server speak TLS, by files that are removed when the test ends. */
export async function tlsFiles({ cert, key }: TestPair = TEST_PAIR) {
  const directory = await temporaryDirectory();
  const TLS_CERT_FILE = join(directory, "cert.pem");
  const TLS_KEY_FILE = join(directory, "key.pem");
  await writeFile(TLS_CERT_FILE, cert);
  await writeFile(TLS_KEY_FILE, key);
  return { TLS_CERT_FILE, TLS_KEY_FILE };
}
