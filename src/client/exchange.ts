/**
 * Sees the HTTP answer behind a call. A Connect transport tells the error that it made of it, and
 * neither the status nor where it redirects to.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Agent, ClientRequest, IncomingHttpHeaders } from "node:http";

/** What was met by one attempt. */
export interface Exchange {
  /** Where the request went, without any credentials. */
  readonly url: string;
  /** The media type that an answer of the service has, without its parameters or codec. */
  readonly expectedType: string;
  /** Not given as long as no HTTP answer came. */
  status?: number | undefined;
  headers?: IncomingHttpHeaders | undefined;
}

const current = new AsyncLocalStorage<Exchange>();

/** Makes an attempt whose answer is noted in the exchange. */
export function observing<T>(exchange: Exchange, attempt: () => Promise<T>): Promise<T> {
  return current.run(exchange, attempt);
}

/** The exchange of the attempt that is made now, for a transport to note its answer in. */
export function currentExchange(): Exchange | undefined {
  return current.getStore();
}

/** What Node.js calls for each request; every agent on npm relies on it, though no type tells. */
interface RequestAdder {
  addRequest(request: ClientRequest, ...rest: unknown[]): void;
}

/** An agent that notes the answers to the requests that go through it. */
export function observingAgent<A extends Agent>(agent: A): A {
  const adder = agent as unknown as RequestAdder;
  const addRequest = adder.addRequest.bind(agent);
  adder.addRequest = (request, ...rest) => {
    const exchange = currentExchange();
    if (exchange !== undefined) {
      request.once("response", ({ statusCode, headers }) => {
        exchange.status = statusCode;
        exchange.headers = headers;
      });
    }
    addRequest(request, ...rest);
  };
  return agent;
}
