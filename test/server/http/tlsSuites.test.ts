/**
 * How TLS is spoken, held by a handshake for each cipher suite that OpenSSL and Node.js know, and
 * for the versions and the groups for the exchange of keys: what Mozilla calls "intermediate" in
 * version 6.0 (https://ssl-config.mozilla.org/guidelines/6.0.json) is taken, all else refused.
 */
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import tls from "node:tls";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Listener, listen } from "../../../src/server/http/listener.ts";
import { makePair } from "../support/certificates.ts";

const TLS13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const TAKEN = {
  ecdsa: [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    ...TLS13,
  ],
  rsa: [
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
    ...TLS13,
  ],
} as const;
/** Also what OpenSSL does not offer by itself: without authentication, or without encryption. */
const EVERY_CIPHER = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
/** A server that spoke PSK or SRP would get as far as to find these wrong. */
const SHARED_SECRETS = ["-psk", "1a2b3c", "-srpuser", "anyone", "-srppass", "pass:anything"];
const AT_ONCE = 4;
const HANDSHAKE_TIMEOUT_MS = 20_000;

describe.each(["ecdsa", "rsa"] as const)("with a certificate of %s", (kind) => {
  let listener: Listener;
  let port: number;

  beforeAll(async () => {
    const { cert, key } = makePair({ kind });
    listener = await listen({
      host: "127.0.0.1",
      port: 0,
      tls: { cert: Buffer.from(cert), key: Buffer.from(key) },
      onRequest: (_, response) => void response.end(),
      monotonicMs: () => performance.now(),
    });
    port = listener.address.port;
  });

  afterAll(() => listener.close(0));

  test("a handshake by openssl succeeds with Mozilla's suites, and with no other", async () => {
    const suites = execFileSync("openssl", ["ciphers", EVERY_CIPHER], { encoding: "latin1" })
      .trim()
      .split(":");
    expect(suites.length).toBeGreaterThan(100);
    const taken: string[] = [];
    const waiting = suites.values();
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (const suite of waiting) if (await isTakenFromOpenssl(suite)) taken.push(suite);
      }),
    );
    expect(taken.sort()).toEqual(TAKEN[kind].toSorted());
  });

  /** @throws Error if it is not the server that refuses. */
  async function isTakenFromOpenssl(suite: string): Promise<boolean> {
    const offer = suite.startsWith("TLS_")
      ? ["-tls1_3", "-ciphersuites", suite]
      : ["-tls1_2", "-cipher", `${suite}:@SECLEVEL=0`];
    const told = await openssl([...offer, ...SHARED_SECRETS]);
    if (/alert handshake failure/.test(told)) return false;
    expect(told).toContain(`Ciphersuite: ${suite}`);
    return true;
  }

  /** @returns what it told, on both outputs. */
  async function openssl(offer: readonly string[]): Promise<string> {
    const args = ["s_client", "-connect", `127.0.0.1:${port}`, "-brief", ...offer];
    const run = promisify(execFile)("openssl", args, { timeout: HANDSHAKE_TIMEOUT_MS });
    run.child.stdin?.end();
    const { stdout, stderr } = await run.catch((error) => error);
    return stdout + stderr;
  }

  test("a handshake by Node.js succeeds with Mozilla's suites, and with no other", async () => {
    const taken: string[] = [];
    for (const name of tls.getCiphers()) {
      const suite = name.toUpperCase();
      const version = suite.startsWith("TLS_") ? "TLSv1.3" : "TLSv1.2";
      const outcome = await handshake({
        // Those of TLS 1.3 stand apart from the others, to which the level belongs.
        ciphers: version === "TLSv1.3" ? `${suite}:${EVERY_CIPHER}` : `${suite}:@SECLEVEL=0`,
        minVersion: version,
        maxVersion: version,
        pskCallback: () => ({ psk: Buffer.from("1a2b3c", "hex"), identity: "anyone" }),
      });
      if (outcome === suite) taken.push(suite);
      // A client of Node.js cannot speak SRP.
      else if (!suite.startsWith("SRP-")) expect(outcome, suite).toMatch(/ALERT_HANDSHAKE_FAILURE/);
    }
    expect(taken.sort()).toEqual(TAKEN[kind].toSorted());
  });

  test.each([
    ["TLSv1", "-tls1"],
    ["TLSv1.1", "-tls1_1"],
  ] as const)("%s is refused", async (version, option) => {
    const only = { minVersion: version, maxVersion: version, ciphers: EVERY_CIPHER };
    expect(await handshake(only)).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    expect(await openssl([option, "-cipher", EVERY_CIPHER])).toContain("alert protocol version");
  });

  test("keys are exchanged by Mozilla's groups, and by no other", async () => {
    const groups = ["X25519MLKEM768", "X25519", "prime256v1", "secp384r1"];
    const others = ["secp521r1", "X448", "ffdhe2048", "brainpoolP256r1tls13", "SecP256r1MLKEM768"];
    for (const group of groups) {
      expect(await handshake({ ecdhCurve: group, minVersion: "TLSv1.3" }), group).toMatch(/^TLS_/);
    }
    for (const group of others) {
      const outcome = await handshake({ ecdhCurve: group, minVersion: "TLSv1.3" });
      expect(outcome, group).toMatch(/ALERT_HANDSHAKE_FAILURE/);
    }
  });

  test("of the suites, the client's order decides", async () => {
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const isOfVersion = (suite: string) =>
        suite.startsWith("TLS_") === (maxVersion === "TLSv1.3");
      const suites = TAKEN[kind].filter(isOfVersion);
      for (const ciphers of [suites, suites.toReversed()]) {
        const outcome = await handshake({ ciphers: ciphers.join(":"), maxVersion });
        expect(outcome).toBe(ciphers[0]);
      }
    }
  });

  test("a client cannot renegotiate", async () => {
    const socket = tls.connect({ port, rejectUnauthorized: false, maxVersion: "TLSv1.2" });
    await once(socket, "secureConnect");
    const error = await new Promise((resolve) => {
      socket.once("error", resolve);
      socket.renegotiate({}, resolve);
    });
    socket.destroy();
    expect(error).toMatchObject({ code: expect.stringContaining("NO_RENEGOTIATION") });
  });

  /** @returns the suite, or the code of the error. */
  function handshake(options: tls.ConnectionOptions): Promise<string> {
    return new Promise((resolve) => {
      let socket: tls.TLSSocket;
      try {
        socket = tls.connect({ port, rejectUnauthorized: false, ...options });
      } catch (error) {
        resolve((error as NodeJS.ErrnoException).code ?? "");
        return;
      }
      socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.once("secureConnect", () => {
        resolve(socket.getCipher().name);
        socket.destroy();
      });
    });
  }
});
