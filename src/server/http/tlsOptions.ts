/**
 * How TLS is spoken: what Mozilla recommends as "intermediate", version 6.0
 * (https://ssl-config.mozilla.org/guidelines/6.0.json), and nothing else. It is what nearly all
 * clients of the last ten years can, with forward secrecy and authenticated encryption only:
 * no CBC, which is where LUCKY13 and its kin are, and no finite-field Diffie-Hellman, which a
 * stranger can make a server compute at almost no cost (D(HE)at, CVE-2002-20001).
 */
import { constants } from "node:crypto";
import type { SecureContextOptions } from "node:tls";

/** What TLS is served with, in PEM. */
export interface TlsMaterial {
  /** The server's own certificate and then those above it. */
  readonly cert: Buffer;
  /** Its private key, without a passphrase. */
  readonly key: Buffer;
}

/** For TLS 1.3, by their names of RFC 8446. */
const TLS13_SUITES = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
] as const;

/** For TLS 1.2, by their names in OpenSSL. */
const TLS12_SUITES = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
] as const;

/** For the exchange of keys. An OpenSSL without the first, which `?` marks, goes without it. */
const KEY_EXCHANGE_GROUPS = ["?X25519MLKEM768", "X25519", "prime256v1", "secp384r1"];

/** The options of a secure context. Each new context has ticket keys of its own. */
export function secureContextOptions({ cert, key }: TlsMaterial): SecureContextOptions {
  return {
    cert,
    key,
    minVersion: "TLSv1.2",
    ciphers: [...TLS13_SUITES, ...TLS12_SUITES].join(":"),
    ecdhCurve: KEY_EXCHANGE_GROUPS.join(":"),
    // All of them are good, so a client may take what its hardware does best.
    honorCipherOrder: false,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION,
  };
}
