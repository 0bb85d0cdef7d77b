import {
  InterceptingCall,
  type InterceptingListener,
  type Interceptor,
  type InterceptorOptions,
  type Listener,
  Metadata,
  status,
} from "@grpc/grpc-js";
import type { SignatureHeaders } from "../signing/index.ts";
import {
  createRequestSigner,
  endpointOf,
  SIGNED_SERVICE,
  type SignerOptions,
  signerSchema,
} from "./requestSigner.ts";
import { checkedOptions } from "./settings.ts";

/**
 * Makes an interceptor that signs the calls of `signals.v1.IngestService` for a client of
 * `@grpc/grpc-js`, whatever its messages are made with. Calls of other services pass
 * untouched.
 *
 * - It must be the last of the client's `interceptors`, that is the innermost.
 * - The message is serialised here to be signed, and again by grpc-js to be sent. Both give
 *   the same bytes, because the keys of a JavaScript object keep their order; but a
 *   `requestSerialize` that is not a pure function cannot be signed for.
 * - The channel must not compress (no `grpc.default_compression_algorithm`): the server takes
 *   no compressed request.
 * - When grpc-js retries by itself, it sends the same signature again. That is harmless, and
 *   good for 300 seconds.
 *
 * @throws ConfigError naming every wrong option.
 */
export function createGrpcSigningInterceptor(options: SignerOptions): Interceptor {
  const sign = createRequestSigner(checkedOptions(signerSchema, options, "The interceptor's"));
  return (callOptions, nextCall) => {
    const { path, requestStream, responseStream } = callOptions.method_definition;
    const call = nextCall(callOptions);
    if (!path.startsWith(endpointOf(SIGNED_SERVICE, ""))) return new InterceptingCall(call);
    if (requestStream || responseStream) throw new TypeError("Only unary calls can be signed.");
    return new SigningCall(call, callOptions, (body) => sign(path, body));
  };
}

/** A call that was started, but not yet passed on. */
interface DeferredStart {
  readonly metadata: Metadata;
  readonly listener: InterceptingListener;
  readonly next: (metadata: Metadata, listener: InterceptingListener | Listener) => void;
  /** Ends the call at its deadline: what is not passed on has nobody else to do so. */
  readonly deadlineTimer: NodeJS.Timeout | undefined;
}

/**
 * A call whose start is deferred until its message is there to be signed, since the
 * signature travels in the metadata.
 *
 * It goes from deferred (after `start`) to either passed on (by `sendMessage`) or given up (by
 * cancellation, by the deadline, or because the message cannot be signed). Once given up,
 * nothing is passed on any more, so an unsigned request is never sent.
 */
class SigningCall extends InterceptingCall {
  #deferred: DeferredStart | undefined;

  constructor(
    call: ConstructorParameters<typeof InterceptingCall>[0],
    { deadline, method_definition: method }: InterceptorOptions,
    sign: (body: Uint8Array) => SignatureHeaders,
  ) {
    super(call, {
      start: (metadata, listener, next) => {
        const deadlineTimer = onDeadline(deadline, () =>
          this.cancelWithStatus(status.DEADLINE_EXCEEDED, "Deadline exceeded"),
        );
        this.#deferred = { metadata: metadata.clone(), listener, next, deadlineTimer };
      },
      sendMessage: (message, next) => {
        if (this.#deferred === undefined) return;
        const { metadata } = this.#deferred;
        try {
          const headers = sign(method.requestSerialize(message));
          for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
        } catch (error) {
          const cause = error instanceof Error ? error.message : String(error);
          this.cancelWithStatus(status.INTERNAL, `The request cannot be signed: ${cause}`);
          return;
        }
        this.#passOn(this.#deferred);
        next(message);
      },
    });
  }

  override cancelWithStatus(code: status, details: string): void {
    const deferred = this.#deferred;
    super.cancelWithStatus(code, details);
    if (deferred === undefined) return;
    this.#release(deferred);
    // The next call has not been started, so it has no one to tell.
    deferred.listener.onReceiveStatus({ code, details, metadata: new Metadata() });
  }

  #passOn(deferred: DeferredStart): void {
    this.#release(deferred);
    deferred.next(deferred.metadata, deferred.listener);
  }

  #release(deferred: DeferredStart): void {
    clearTimeout(deferred.deadlineTimer);
    this.#deferred = undefined;
  }
}

function onDeadline(
  deadline: Date | number | undefined,
  end: () => void,
): NodeJS.Timeout | undefined {
  if (deadline === undefined || deadline === Number.POSITIVE_INFINITY) return undefined;
  const delayMs = Number(deadline) - Date.now();
  return setTimeout(end, delayMs);
}
