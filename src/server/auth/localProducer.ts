/**
 * The first producer of a server on its embedded database: its credentials are in a file, so
 * that a signal can be sent at once.
 */
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { parseEnv } from "node:util";
import type { Clock } from "../../ingest/index.ts";
import {
  formatTimestamp,
  generateCredential,
  Secret,
  signatureHeaders,
} from "../../signing/index.ts";
import type { ProducerCredentials } from "./ensureProducer.ts";
import { readIfThere, replaceFile, withVariable } from "./envFile.ts";
import { SecretText } from "./secretBox.ts";

const LOCAL_PRODUCER_ID = "local-bot";
/** A server on this machine answers within milliseconds, if it lives. */
const PROBE_TIMEOUT_MS = 1_000;
const PROBE_PATH = "/api/v1/signals";
/** A refusal that names each missing field has less than half of that. */
const PROBE_MAX_BYTES = 4_096;

/** Where the first producer's credentials are, in a form that shells and Node can read. */
export function localProducerFile(dataDir: string): string {
  return join(dataDir, "producer.env");
}

/**
 * The first producer of this data directory: the one that is there, or a new one.
 *
 * @throws Error naming the file, without the secret, if what is there cannot be used.
 */
export async function localProducer(dataDir: string): Promise<ProducerCredentials> {
  const path = localProducerFile(dataDir);
  const { PRODUCER_ID, HMAC_PRODUCER_SECRET } = parseEnv(await readIfThere(path));
  if (PRODUCER_ID === undefined || HMAC_PRODUCER_SECRET === undefined) {
    return {
      producerId: LOCAL_PRODUCER_ID,
      secret: new SecretText(generateCredential("sec").text),
    };
  }
  try {
    return { producerId: PRODUCER_ID, secret: new SecretText(HMAC_PRODUCER_SECRET) };
  } catch (error) {
    const why = (error as Error).message;
    throw new Error(`HMAC_PRODUCER_SECRET in ${path} cannot be used: ${why} Put it right there.`);
  }
}

/**
 * Writes the credentials for producers on this machine, readable by their owner only. What a
 * person added to the file stays.
 *
 * @param serverUrl a URL that clients take; `undefined` if this server cannot know one.
 * @param clock for a signature, by which the server that the file names is asked who it is.
 * @returns the URL of another server of this data directory that the file names, if that one
 *   lives: then the file was left as it is.
 */
export async function writeLocalProducer(
  dataDir: string,
  credentials: ProducerCredentials,
  serverUrl: string | undefined,
  clock: Pick<Clock, "now">,
): Promise<string | undefined> {
  const { producerId, secret } = credentials;
  const path = localProducerFile(dataDir);
  const known = await readIfThere(path);
  const { PRODUCER_ID, HMAC_PRODUCER_SECRET, OUTBOUND_SERVER_URL } = parseEnv(known);
  const isKnown = PRODUCER_ID === producerId && HMAC_PRODUCER_SECRET === secret.reveal();
  if (isKnown && OUTBOUND_SERVER_URL !== undefined) {
    if (OUTBOUND_SERVER_URL === serverUrl) return undefined;
    const timestamp = formatTimestamp(clock.now());
    const isServed = await isServedAt(OUTBOUND_SERVER_URL, credentials, timestamp);
    if (isServed) return OUTBOUND_SERVER_URL;
  }
  const fresh = [
    "# The first producer of this server. Its secret signs trading signals: keep it private.",
    `PRODUCER_ID=${producerId}`,
    `HMAC_PRODUCER_SECRET=${secret.reveal()}`,
    "",
  ].join("\n");
  const text = withVariable(
    isKnown ? known : fresh,
    "OUTBOUND_SERVER_URL",
    serverUrl,
    "the https URL under which producers reach this server",
  );
  await replaceFile(path, text);
  return undefined;
}

/**
 * Whether a server that knows this producer takes signals there, and not one of another data
 * directory, or another program, on a port that this directory's server had. It is asked by a
 * signed request that holds no signal, and so stores nothing wherever it arrives.
 */
async function isServedAt(
  url: string,
  { producerId, secret }: ProducerCredentials,
  timestamp: string,
): Promise<boolean> {
  const { request: open } = url.startsWith("https:") ? https : http;
  const body = Buffer.from("{}");
  const headers = {
    ...signatureHeaders({
      endpoint: PROBE_PATH,
      timestamp,
      producerId,
      secret: Secret.fromString(secret.reveal()),
      body,
    }),
    "content-type": "application/json",
    "content-length": body.length,
  };
  const { promise, resolve } = Promise.withResolvers<boolean>();
  try {
    const request = open(
      `${url}${PROBE_PATH}`,
      {
        method: "POST",
        headers,
        signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
        // Whoever it is, it is told nothing, so its certificate does not matter.
        rejectUnauthorized: false,
        agent: false,
      },
      (response) => {
        const isShort = Number(response.headers["content-length"]) <= PROBE_MAX_BYTES;
        if (!isShort) request.destroy();
        json(response).then(
          (answer) => resolve(isOfKnownProducer(answer)),
          () => resolve(false),
        );
      },
    );
    request.on("error", () => resolve(false));
    request.end(body);
  } catch {
    // It is no URL.
    return false;
  }
  return promise;
}

/** Whether the refusal of a request says that its signature was taken. */
function isOfKnownProducer(answer: unknown): boolean {
  const reason = (answer as { readonly reason?: unknown } | null)?.reason;
  return typeof reason === "string" && reason !== "UNAUTHENTICATED";
}
