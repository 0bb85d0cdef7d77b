/** Requests under way share a bounded memory. */
import { expect, onTestFinished, test } from "vitest";
import type { Ingest } from "../../../src/ingest/index.ts";
import { createPendingMemory } from "../../../src/server/http/pendingMemory.ts";
import { allOf } from "../../support/allOf.ts";
import { startRouter } from "../support/routerServer.ts";
import { bodies, PROTOCOLS, sameBytes, send } from "../support/wire.ts";

test("what is given back can be taken again, and no more than there is", () => {
  const memory = createPendingMemory(10);
  const first = memory.take(6);
  expect(first).toBeDefined();
  expect(memory.take(5)).toBeUndefined();
  expect(memory.take(4)).toBeDefined();
  first?.[Symbol.dispose]();
  expect(memory.take(7)).toBeUndefined();
  expect(memory.take(6)).toBeDefined();
});

test("signals that wait for the database do not fill the memory", async () => {
  const held = Promise.withResolvers<void>();
  let waiting = 0;
  const ingest: Ingest = async (submissions, { receiveTime }) => {
    const all = await allOf(submissions);
    waiting += 1;
    await held.promise;
    return all.map(() => ({ kind: "valid", status: "received", receiveTime }));
  };
  const server = await startRouter(ingest);
  onTestFinished(() => server.close());
  // Blanks behind a body of JSON are part of it, and what is held of a request is all its bytes.
  const large = Buffer.concat([bodies().rest, Buffer.alloc(64_000, " ")]);

  const answers = Array.from({ length: 450 }, () => send(server.url, "REST", sameBytes(large)));
  // 24 MiB are as much as 386 of these: the others are refused while those wait.
  const refused = await Promise.any(
    answers.map(async (answer) => (await answer).error ?? Promise.reject(new Error("stored"))),
  );
  expect(refused).toMatchObject({ reason: "OVERLOADED", retryAfterMs: 1_000 });
  expect(waiting).toBeLessThan(400);
  held.resolve();
  const errors = (await Promise.all(answers)).map(({ error }) => error?.reason);
  expect(errors.filter((reason) => reason === undefined)).toHaveLength(waiting);

  // All of it is given back in the end.
  for (const protocol of PROTOCOLS) {
    expect((await send(server.url, protocol, bodies())).error).toBeUndefined();
  }
});
