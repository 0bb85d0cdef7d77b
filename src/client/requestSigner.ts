/**
 * What is signed, and by whom: common to all that signs calls.
 */
import { z } from "zod";
import { IngestService } from "../../gen/signals/v1/ingest_service_pb.ts";
import {
  formatTimestamp,
  type Secret,
  type SignatureHeaders,
  signatureHeaders,
} from "../signing/index.ts";
import { type ClientClock, systemClock } from "./clock.ts";
import { objectWith, producerId, secret } from "./settings.ts";

/** As whom to sign. */
export interface SignerOptions {
  /** Who sends the signals, as the server knows it. */
  readonly producerId: string;
  /** What proves it. At least 16 bytes in UTF-8. */
  readonly secret: string | Secret;
  /** Where the timestamps come from. Defaults to the clock of this machine. */
  readonly clock?: ClientClock | undefined;
}

/** Signs the body of one attempt, now. */
export type RequestSigner = (endpoint: string, body: Uint8Array) => SignatureHeaders;

/** The options of whoever signs, which its own may extend. */
export const signerSchema = z.strictObject({
  producerId,
  secret,
  clock: objectWith<ClientClock>("now").default(() => systemClock),
});

/** Signs as options say that hold every rule. */
export function createRequestSigner({
  clock,
  ...identity
}: z.output<typeof signerSchema>): RequestSigner {
  return (endpoint, body) =>
    signatureHeaders({ ...identity, endpoint, body, timestamp: formatTimestamp(clock.now()) });
}

/**
 * The service whose calls are signed. All others take a bearer token, and a signature
 * would only cost time.
 */
export const SIGNED_SERVICE = IngestService.typeName;

/** The path that a signature covers: the one that the service sees, without any prefix. */
export function endpointOf(service: string, method: string): string {
  return `/${service}/${method}`;
}
