/**
 * The services that administer, as bytes on the operations port: who is let in, what is read of
 * whom, and what programs of other makers see.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import {
  Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, describe, expect, test } from "vitest";
import { ProducerService } from "../../../gen/signals/v1/producer_service_pb.ts";
import { TokenService } from "../../../gen/signals/v1/token_service_pb.ts";
import {
  data,
  END_STREAM,
  headers,
  opening,
  post as postTo,
} from "../../attacks/support/http2Frames.ts";
import { exchange, rawPost, rawRequest } from "../../attacks/support/rawHttp1.ts";
import { ROOT, run } from "../../interop/support/command.ts";
import { eventually } from "../../support/eventually.ts";
import { serveFile } from "../../support/serveFile.ts";
import { expectNoLeak } from "../support/secrecy.ts";
import { addTokens, aToken, clientOf, refusalOf } from "../support/tokens.ts";
import { framed, http1Post, http2Post, PROTOCOLS, sameBytes, send } from "../support/wire.ts";

const admin = aToken({ name: "alice" });
const limited = aToken({ name: "a “name”, of\u202e any kind", producerIds: ["bot"] });
const file = serveFile({ OPS_PORT: "0" }, (url) => addTokens(url, [admin, limited]));

const LIST = "/signals.v1.ProducerService/ListProducers";
const opsUrl = () => String(file.server.opsUrl);
const opsPort = () => Number(new URL(opsUrl()).port);
const bearer = (token = admin) => ({ authorization: `Bearer ${token.text}` });
const JSON_BODY = { "content-type": "application/json" };
const RPC_PROTOCOLS = PROTOCOLS.filter((protocol) => protocol !== "REST");

/** A call over Connect, as `fetch` makes it. */
function post(headers: Readonly<Record<string, string>>, body = "{}", path = LIST) {
  return fetch(opsUrl() + path, { method: "POST", headers: { ...JSON_BODY, ...headers }, body });
}

describe("who is let in", () => {
  test("is told how to prove who it is, over whatever has headers", async () => {
    const challenge = 'Bearer realm="signals.v1"';
    const connect = await post({});
    expect(connect.status).toBe(401);
    expect(connect.headers.get("www-authenticate")).toBe(challenge);
    const grpc = await http2Post(
      opsUrl(),
      LIST,
      { "content-type": "application/grpc" },
      framed(Buffer.alloc(0)),
    );
    expect(grpc.headers["www-authenticate"]).toBe(challenge);
    const web = await http1Post(
      opsUrl(),
      LIST,
      { "content-type": "application/grpc-web+proto" },
      framed(Buffer.alloc(0)),
    );
    expect(web.text).toContain(`www-authenticate: ${challenge}`);
  });

  test("is answered alike, whatever is wrong with the proof", async () => {
    const answers = new Set<string>();
    for (const authorization of [
      undefined,
      "Bearer",
      `Basic ${admin.text}`,
      `Bearer ${admin.text.slice(0, -1)}`,
      `Bearer ${aToken().text}`,
      `Bearer ${admin.text} ${admin.text}`,
    ]) {
      const response = await post(authorization === undefined ? {} : { authorization });
      const headers = Object.fromEntries(response.headers);
      for (const name of ["date", "x-request-id"]) delete headers[name];
      answers.add(JSON.stringify([response.status, headers, await response.text()]));
    }
    expect([...answers]).toHaveLength(1);
  });

  test("has one header with a token, and not two", async () => {
    const lines = [
      ["content-type", "application/json"],
      ["authorization", `Bearer ${admin.text}`],
    ] as const;
    const body = Buffer.from("{}");
    expect((await exchange(opsPort(), [rawPost(LIST, lines, body)])).status).toBe(200);
    for (const second of [admin.text, "", "x"]) {
      const doubled = [...lines, ["Authorization", `Bearer ${second}`]] as const;
      expect((await exchange(opsPort(), [rawPost(LIST, doubled, body)])).status).toBe(401);
    }
    // Node's own client would not send it over HTTP/2.
    const once = [
      ["content-type", "application/json"],
      ["authorization", `Bearer ${admin.text}`],
    ] as const;
    for (const [fields, told] of [
      [once, "test-bot"],
      [[...once, once[1]], "UNAUTHENTICATED"],
    ] as const) {
      const begin = headers(1, [...postTo(LIST), ...fields]);
      const pieces = [Buffer.concat([opening(), begin, data(1, body, END_STREAM)])];
      expect((await exchange(opsPort(), pieces, "closed", 1_000)).text).toContain(told);
    }
  });
});

describe("the body", () => {
  const BROKEN = sameBytes(Buffer.from([0x80]));

  test.each(RPC_PROTOCOLS)("of a stranger is not looked into over %s", async (protocol) => {
    const method = { path: LIST, token: aToken().text };
    const answer = await send(opsUrl(), protocol, BROKEN, { method });
    expect(answer.error?.reason).toBe("UNAUTHENTICATED");
    const known = await send(opsUrl(), protocol, BROKEN, {
      method: { ...method, token: admin.text },
    });
    expect(known.error?.reason).toBe("MALFORMED_BODY");
  });

  test("of a stranger is not even waited for", async () => {
    const head = rawRequest(`POST ${LIST} HTTP/1.1`, [
      ["host", "localhost"],
      ["content-type", "application/json"],
      ["content-length", "1000"],
    ]);
    expect((await exchange(opsPort(), [head])).status).toBe(401);
  });

  test("of a call without the scope is not waited for, either", async () => {
    const reader = aToken({ scopes: ["read"] });
    await addTokens(file.database.url, [reader]);
    const head = rawRequest(`POST ${LIST} HTTP/1.1`, [
      ["host", "localhost"],
      ["content-type", "application/json"],
      ["content-length", "1000"],
      ["authorization", `Bearer ${reader.text}`],
    ]);
    await eventually("the token is known", async () => {
      return (await exchange(opsPort(), [head])).status === 403;
    });
  });

  test("may not be compressed", async () => {
    const headers = { ...JSON_BODY, ...bearer(), "content-encoding": "gzip" };
    const response = await fetch(opsUrl() + LIST, {
      method: "POST",
      headers,
      body: gzipSync("{}"),
    });
    expect(response.status).toBe(501);
  });

  test("names no field that the contract does not define", async () => {
    const response = await post(bearer(), `{"pageSizes":1}`);
    expect(response.status).toBe(400);
    const { message } = (await response.json()) as { message: string };
    expect(message).toContain("pageSizes");
    expect(message).not.toContain("Not stored");
  });

  test("is all that a call has: no query string", async () => {
    expect((await post(bearer(), "{}", `${LIST}?access_token=${admin.text}`)).status).toBe(400);
  });
});

describe("a mask in JSON", () => {
  const UPDATE = "/signals.v1.ProducerService/UpdateProducer";

  test("names settings as ProtoJSON does", async () => {
    await clientOf(ProducerService, opsUrl(), admin).createProducer({ producerId: "masked" });
    const body = {
      producer: { producerId: "masked", displayName: "A", require_approval: true },
      updateMask: "displayName,requireApproval",
    };
    const response = await post(bearer(), JSON.stringify(body), UPDATE);
    expect(await response.json()).toMatchObject({
      producer: { displayName: "A", requireApproval: true },
    });
  });

  test("that names something else is told what was meant", async () => {
    const body = { producer: { producerId: "masked" }, updateMask: "displayNam" };
    const response = await post(bearer(), JSON.stringify(body), UPDATE);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("did you mean display_name?");
  });
});

describe("from a browser", () => {
  test.each([LIST, "/metrics", "/api/v1/health"])(
    "no page of another site gets %s",
    async (path) => {
      const method = path === LIST ? "POST" : "GET";
      for (const headers of [
        { origin: "http://evil.example" },
        { origin: "null" },
        { "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site" },
      ]) {
        const response = await fetch(opsUrl() + path, {
          method,
          headers: { ...JSON_BODY, ...bearer(), ...headers } as Record<string, string>,
          ...(method === "POST" && { body: "{}" }),
        });
        expect(response.status, JSON.stringify(headers)).toBe(403);
        expect([...response.headers.keys()].join()).not.toContain("access-control");
      }
    },
  );

  test("no page of another site is told that it may", async () => {
    const lines = [
      ["host", "localhost"],
      ["origin", "http://evil.example"],
      ["access-control-request-method", "POST"],
    ] as const;
    const answer = await exchange(opsPort(), [rawRequest(`OPTIONS ${LIST} HTTP/1.1`, lines)]);
    expect(answer.status).toBe(403);
    expect(answer.text.toLowerCase()).not.toContain("access-control");
  });

  test("a page of this port calls", async () => {
    const headers = { ...bearer(), origin: opsUrl(), "sec-fetch-site": "same-origin" };
    expect((await post(headers)).status).toBe(200);
  });

  test("no name but this machine's is served, over either version of HTTP", async () => {
    const lines = [
      ["host", "evil.example"],
      ["content-type", "application/json"],
      ["authorization", `Bearer ${admin.text}`],
      ["content-length", "2"],
    ] as const;
    const raw = rawRequest(`POST ${LIST} HTTP/1.1`, lines, Buffer.from("{}"));
    expect((await exchange(opsPort(), [raw])).status).toBe(400);
    for (const path of [LIST, "/grpc.health.v1.Health/Check"]) {
      const headers = {
        ":authority": "evil.example",
        "content-type": "application/grpc",
        ...bearer(),
      };
      const answer = await http2Post(opsUrl(), path, headers, framed(Buffer.alloc(0)));
      expect(answer.httpStatus).toBe(400);
    }
  });
});

describe("programs of other makers", () => {
  test.each([
    ["grpc", ["--http2-prior-knowledge"]],
    ["grpcweb", []],
    ["connect", []],
  ])("buf curl calls over %s", async (protocol, args) => {
    const command = ["curl", "--schema", "proto", "--protocol", protocol, ...args];
    const { code, stdout, stderr } = await run(
      "buf",
      [...command, "-H", "@-", "-d", `{"pageSize":5}`, opsUrl() + LIST],
      { stdin: `authorization: Bearer ${admin.text}\n` },
    );
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(JSON.parse(stdout).producers).toEqual(
      expect.arrayContaining([expect.objectContaining({ producerId: "test-bot", enabled: true })]),
    );
  });

  test("grpc-js calls, with messages of protobuf.js", async () => {
    const options = {
      includeDirs: [join(ROOT, "proto")],
      longs: String,
      enums: String,
      defaults: true,
    };
    const definition = loadPackageDefinition(loadSync("signals/v1/token_service.proto", options));
    const Service = (
      definition as never as Record<
        string,
        Record<string, Record<string, ServiceClientConstructor>>
      >
    ).signals?.v1?.TokenService;
    const create = Service?.service.CreateToken;
    if (create === undefined) throw new Error("There is no such method.");
    const client = new Client(new URL(opsUrl()).host, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${admin.text}`);
    const request = {
      name: "by grpc-js",
      scopes: ["SCOPE_READ", "SCOPE_ADMIN"],
      producerIds: ["a"],
    };
    const answer = await new Promise<unknown>((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = create;
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata,
        { deadline: Date.now() + 20_000 },
        (error, response) => (error ? reject(error) : resolve(response)),
      );
    }).finally(() => client.close());
    expect(answer).toMatchObject({
      token: expect.stringMatching(/^cs_tok_/),
      info: { name: "by grpc-js", scopes: ["SCOPE_READ", "SCOPE_ADMIN"], producerIds: ["a"] },
    });
  });
});

const shown: string[] = [];

test("secrets and tokens are told once, and stand in no list", async () => {
  const producers = clientOf(ProducerService, opsUrl(), admin);
  const tokens = clientOf(TokenService, opsUrl(), admin);
  const { secret } = await producers.createProducer({ producerId: "told-once" });
  const { secret: second } = await producers.rotateProducerSecret({ producerId: "told-once" });
  const { token } = await tokens.createToken({ name: "told once", scopes: [1] });
  shown.push(secret, second, token);
  const answers = [
    await producers.getProducer({ producerId: "told-once" }),
    await producers.listProducers({}),
    await tokens.listTokens({}),
  ];
  const text = JSON.stringify(answers, (_, value) =>
    typeof value === "bigint" ? `${value}` : value,
  );
  for (const each of shown) expect(text).not.toContain(each.split("_")[3]);
  const rows = await file.sql`SELECT row_to_json(a)::text AS text FROM audit_log a`;
  for (const each of shown) expect(JSON.stringify(rows)).not.toContain(each.split("_")[3]);
});

test("the log names the token that called, escaped, and holds none", async () => {
  await refusalOf(clientOf(ProducerService, opsUrl(), limited).getProducer({ producerId: "x" }));
  await eventually("it is told", () =>
    file.server.logLines.some(({ token_id }) => token_id === limited.tokenId),
  );
  const line = file.server.logLines.find(({ token_id }) => token_id === limited.tokenId);
  expect(line).toMatchObject({
    token_name: limited.name,
    reason: "NOT_FOUND",
    path: "/signals.v1.ProducerService/GetProducer",
    protocol: "grpc",
  });
  const text = JSON.stringify(file.server.logLines);
  for (const each of [admin.text, limited.text, ...shown]) {
    expect(text).not.toContain(each.split("_")[3]);
  }
  expectNoLeak(text, file.database.url);
});

afterAll(() =>
  expect(file.server.logLines.filter(({ msg }) => msg === "request failed")).toEqual([]),
);
