/**
 * The connection of the commands to the operations port.
 */
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { AuditService } from "../../../gen/signals/v1/audit_service_pb.ts";
import { ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { TokenService } from "../../../gen/signals/v1/token_service_pb.ts";
import { interruptible } from "../interruption.ts";
import { type AdminAccess, readAdminAccess } from "./access.ts";
import { type CallContext, callError } from "./callError.ts";
import type { AdminOptions } from "./options.ts";

/** The server gives up sooner, and says why. */
const CALL_TIMEOUT_MS = 15_000;
/** Room for a page of the longest entries of the audit, and a bound for whatever else answers. */
const READ_MAX_BYTES = 33_554_432;
/** Few enough that a page of the longest has room. */
export const PAGE_SIZE = 100;

/** The services, until it is disposed of. */
export interface Admin extends Disposable {
  readonly access: AdminAccess;
  readonly producers: Client<typeof ProducerService>;
  readonly tokens: Client<typeof TokenService>;
  readonly audit: Client<typeof AuditService>;
  /** Is aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /**
   * Waits for a call.
   *
   * @throws CliError that says what became of it.
   */
  call<T>(call: Promise<T>, context?: CallContext): Promise<T>;
}

/** Opens nothing yet. @throws CliError if a setting is missing or wrong. */
export function openAdmin(options: AdminOptions): Admin {
  const access = readAdminAccess(options);
  const interruption = interruptible();
  const withToken: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${access.token.reveal()}`);
    return next({ ...request, signal: AbortSignal.any([request.signal, interruption.signal]) });
  };
  const transport = createConnectTransport({
    baseUrl: access.url,
    httpVersion: "1.1",
    useBinaryFormat: true,
    defaultTimeoutMs: CALL_TIMEOUT_MS,
    readMaxBytes: READ_MAX_BYTES,
    acceptCompression: [],
    interceptors: [withToken],
  });
  access.announce();
  return {
    access,
    producers: createClient(ProducerService, transport),
    tokens: createClient(TokenService, transport),
    audit: createClient(AuditService, transport),
    signal: interruption.signal,
    async call(call, context) {
      try {
        return await call;
      } catch (error) {
        throw callError(error, access, context);
      }
    },
    [Symbol.dispose]() {
      interruption.end();
    },
  };
}

/** All items of a list, page by page. @param max ends it after so many. */
export async function allPages<Item>(
  read: (
    pageToken: string,
  ) => Promise<{ readonly items: readonly Item[]; readonly nextPageToken: string }>,
  max = Number.POSITIVE_INFINITY,
): Promise<Item[]> {
  const all: Item[] = [];
  let pageToken = "";
  do {
    const { items, nextPageToken } = await read(pageToken);
    all.push(...items);
    pageToken = nextPageToken;
  } while (pageToken !== "" && all.length < max);
  return all.slice(0, max);
}
