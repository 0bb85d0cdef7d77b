import { clone, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import {
  createRequestSigner,
  endpointOf,
  SIGNED_SERVICE,
  type SignerOptions,
  signerSchema,
} from "./requestSigner.ts";
import { type SerializeOptions, serialize, withSortedKeys } from "./serialize.ts";
import { checkedOptions, objectWith } from "./settings.ts";

/**
 * As whom to sign, and how the transport serialises. `jsonOptions` and `binaryOptions` must
 * be those that the transport was made with, for other bytes make a wrong signature.
 */
export interface SigningInterceptorOptions extends SignerOptions, SerializeOptions {}

const schema = signerSchema.extend({
  binaryOptions: objectWith<NonNullable<SerializeOptions["binaryOptions"]>>().optional(),
  jsonOptions: objectWith<NonNullable<SerializeOptions["jsonOptions"]>>().optional(),
});

/** Whose options they are, in what is said of them. */
const OWNER = "The interceptor's";

/**
 * Makes an interceptor that signs the calls of `signals.v1.IngestService` on a Connect
 * transport of any protocol and codec. Calls of other services pass untouched.
 *
 * - It must be the last of the transport's `interceptors`, that is the innermost: one after
 *   it could still change the message. One that retries goes before it, so that each attempt
 *   is signed anew.
 * - The transport must not compress requests (no `sendCompression`): the server takes no
 *   compressed request. Such a call fails with `unimplemented` before it is sent.
 * - A prefix in the transport's `baseUrl` is not signed, since the server never sees it.
 *
 * @throws ConfigError naming every wrong option.
 */
export function createSigningInterceptor(options: SigningInterceptorOptions): Interceptor {
  // Some transports serialise only after the call has returned, when the caller may have
  // changed the message for the next one.
  return signingInterceptor(options, clone);
}

/** The same for messages that nobody changes once they are made, so that none is copied. */
export function createSigningInterceptorOfFixed(options: SigningInterceptorOptions): Interceptor {
  return signingInterceptor(options, (_, message) => message);
}

function signingInterceptor(
  options: SigningInterceptorOptions,
  keep: <Desc extends DescMessage>(desc: Desc, message: MessageShape<Desc>) => MessageShape<Desc>,
): Interceptor {
  const { binaryOptions, jsonOptions, ...signer } = checkedOptions(schema, options, OWNER);
  const serializing = { binaryOptions, jsonOptions };
  const sign = createRequestSigner(signer);
  return (next) => async (request) => {
    if (request.service.typeName !== SIGNED_SERVICE) return next(request);
    if (request.stream) {
      throw new ConnectError("Only unary calls can be signed.", Code.Unimplemented);
    }
    if (isCompressed(request.header)) {
      throw new ConnectError(
        "A signed request must not be compressed. Make the transport without sendCompression.",
        Code.Unimplemented,
      );
    }
    const { input } = request.method;
    const message = withSortedKeys(input, keep(input, request.message));
    const body = serialize(input, message, codecOf(request.header), serializing);
    const endpoint = endpointOf(request.service.typeName, request.method.name);
    for (const [name, value] of Object.entries(sign(endpoint, body))) {
      request.header.set(name, value);
    }
    return next({ ...request, message });
  };
}

/**
 * Whether the transport compresses. It says so in the header before it decides by size, so
 * that small requests fail as well, and the mistake shows at once.
 */
function isCompressed(header: Headers): boolean {
  return ["content-encoding", "grpc-encoding"].some((name) => {
    const encoding = header.get(name);
    return encoding !== null && encoding !== "identity";
  });
}

/**
 * The codec, by the content type that the transport has set: `application/json`,
 * `application/grpc+json` and `application/grpc-web+json` against everything else.
 */
function codecOf(header: Headers): "binary" | "json" {
  const [mediaType = ""] = (header.get("content-type") ?? "").split(";");
  return mediaType.trim().endsWith("json") ? "json" : "binary";
}
