import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TEST_CERTIFICATE, TEST_CERTIFICATE_KEY } from "../../client/support/certificate.ts";
import { temporaryDirectory } from "../../support/temporaryDirectory.ts";

/** Settings that make a server speak TLS, by files that are removed when the test ends. */
export async function tlsFiles() {
  const directory = await temporaryDirectory();
  const TLS_CERT_FILE = join(directory, "cert.pem");
  const TLS_KEY_FILE = join(directory, "key.pem");
  await writeFile(TLS_CERT_FILE, TEST_CERTIFICATE);
  await writeFile(TLS_KEY_FILE, TEST_CERTIFICATE_KEY);
  return { TLS_CERT_FILE, TLS_KEY_FILE };
}
