import { inspect } from "node:util";
import { expect, it } from "vitest";
import {
  clientOptionsFromEnv,
  createGrpcSigningInterceptor,
  createOutbox,
  createSignalClient,
  createSigningInterceptor,
} from "../../src/client/index.ts";
import { resolveClientOptions } from "../../src/client/options.ts";
import { shown } from "../alerts/support.ts";
import { leaksIn } from "../support/secrecy/canaries.ts";
import { outboxPath, silent } from "./outbox/support.ts";
import { PRODUCER_ID, SECRET, startTestServer } from "./support/ingestServer.ts";
import { signalInput } from "./support/signals.ts";

it("shows the secret in nothing that it makes", async () => {
  await using server = await startTestServer({
    listener: (request, response) => {
      request.resume();
      response.writeHead(500).end();
    },
  });
  const identity = { producerId: PRODUCER_ID, secret: SECRET };
  const options = { serverUrl: server.url, ...identity };
  await using client = createSignalClient(options);
  await using outbox = createOutbox({ path: outboxPath(), client, logger: silent });
  const failed = await client
    .ingest(signalInput(), { retry: false })
    .catch((error: unknown) => error);
  const invalid = await client
    .ingest(signalInput({ instrument: "?" }))
    .catch((error: unknown) => error);

  const environment = {
    HMAC_PRODUCER_SECRET: SECRET,
    OUTBOUND_SERVER_URL: server.url,
    PRODUCER_ID,
  };
  const made = {
    client,
    failed,
    invalid,
    resolved: resolveClientOptions(options),
    fromEnvironment: clientOptionsFromEnv(environment),
    interceptor: createSigningInterceptor(identity),
    grpcInterceptor: createGrpcSigningInterceptor(identity),
    outbox,
  };

  expect(failed).toBeInstanceOf(Error);
  for (const [name, value] of Object.entries(made)) expect(leaksIn(shown(value)), name).toEqual([]);
});

it("keeps the password of a proxy out of what printing the options shows", () => {
  const options = clientOptionsFromEnv({
    HMAC_PRODUCER_SECRET: SECRET,
    OUTBOUND_SERVER_URL: "https://signals.example",
    PRODUCER_ID,
    HTTPS_PROXY: "http://bot:hunter2@proxy.example:3128",
    NO_PROXY: "other.example",
  });
  expect(`${inspect(options)}${JSON.stringify({ ...options })}`).not.toContain("hunter2");
  expect({ ...options }).toMatchObject({
    proxyEnv: { HTTPS_PROXY: "http://bot:hunter2@proxy.example:3128", NO_PROXY: "other.example" },
  });
});
