import { z } from "zod";
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
