/** New secrets while the master key is rotated, and while the database goes away. */
import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  CreateProducerRequestSchema,
  RotateProducerSecretRequestSchema,
} from "../../../gen/signals/v1/producer_service_pb.ts";
import type { AccessStore, NewSecret } from "../../../src/access/index.ts";
import { StoreUnavailableError } from "../../../src/ingest/index.ts";
import { createSecretBox } from "../../../src/server/auth/secretBox.ts";
import { addNewSecret } from "../../../src/server/services/newSecret.ts";
import {
  type ProducerMethodsDependencies,
  producerMethods,
} from "../../../src/server/services/producerService.ts";
import { aToken } from "../support/tokens.ts";

const box = createSecretBox([Buffer.alloc(32, 1), Buffer.alloc(32, 2)]);
const [newKey, oldKey] = box.keyIds;
const FOREIGN_KEY = new Uint8Array(8);

/** Adds a secret where these keys are in force, one after each look. */
function add(
  keyIds: readonly (Uint8Array | undefined)[],
  outcomes: readonly ("done" | "stale_key" | "under_way")[],
) {
  const stored: NewSecret[] = [];
  let looks = 0;
  const sealing = {
    seal: box.seal,
    keyId: () => keyIds[looks],
    refresh: async () => {
      looks += 1;
    },
  };
  const result = addNewSecret<"under_way">("bot", sealing, async (secret) => {
    stored.push(secret);
    return outcomes[stored.length - 1] ?? "done";
  });
  return { result, stored };
}

describe("a new secret", () => {
  test("is sealed under the key that is in force", async () => {
    const { result, stored } = add([oldKey], ["done"]);
    const added = await result;
    const text = added.ok && "text" in added.value ? added.value.text : "";
    expect(stored).toMatchObject([{ keyId: oldKey, secretId: text.split("_")[2] }]);
  });

  test("is sealed again if another key came into force meanwhile", async () => {
    const { result, stored } = add([oldKey, newKey], ["stale_key", "done"]);
    expect(await result).toMatchObject({ ok: true, value: { text: expect.any(String) } });
    expect(stored.map(({ keyId }) => keyId)).toEqual([oldKey, newKey]);
    expect(new Set(stored.map(({ secretId }) => secretId)).size).toBe(1);
  });

  test("is sealed as soon as this process learned the key", async () => {
    const { result, stored } = add([FOREIGN_KEY, newKey], ["done"]);
    expect(await result).toMatchObject({ ok: true });
    expect(stored).toHaveLength(1);
  });

  test.each([
    [[FOREIGN_KEY, FOREIGN_KEY], []],
    [
      [oldKey, oldKey],
      ["stale_key", "stale_key"],
    ],
  ] as const)("is given up without the key that is in force", async (keyIds, outcomes) => {
    expect(await add(keyIds, outcomes).result).toMatchObject({
      ok: false,
      refusal: { reason: "STORE_UNAVAILABLE", message: expect.stringContaining("master key") },
    });
  });

  test("is not made if the store has a reason not to", async () => {
    const { result } = add([oldKey], ["under_way"]);
    expect(await result).toEqual({ ok: true, value: { failure: "under_way" } });
  });
});

describe("while the database goes away", () => {
  const away = () => Promise.reject(new StoreUnavailableError("away"));
  const caller = aToken();
  const call = { token: caller, deadlineMs: 10_000, record: {} as never };

  /** The methods on a store of which only this answers. */
  function methodsOn(store: Partial<AccessStore>, nowMs = 0) {
    const dependencies: ProducerMethodsDependencies = {
      store: store as AccessStore,
      monotonicMs: () => nowMs,
      sealing: { seal: box.seal, keyId: () => newKey, refresh: async () => {} },
      onChanged: async () => {},
      onRefusedAttempt: () => {},
    };
    return producerMethods(dependencies);
  }

  test("a secret that was made is told, though its producer cannot be read", async () => {
    const store: Partial<AccessStore> = { createProducer: async () => "done", getProducer: away };
    const request = create(CreateProducerRequestSchema, { producerId: "bot" });
    const answer = await methodsOn(store).createProducer.handle(request, call);
    expect(answer).toMatchObject({
      ok: true,
      value: { secret: expect.stringMatching(/^cs_sec_/) },
    });
    expect(answer.ok && answer.value.producer).toBeUndefined();
  });

  test("who made a secret or not is told that this is not known, and what to do", async () => {
    const methods = methodsOn({ rotateProducerSecret: away });
    const request = create(RotateProducerSecretRequestSchema, { producerId: "bot" });
    expect(await methods.rotateProducerSecret.handle(request, call)).toMatchObject({
      refusal: {
        reason: "STORE_UNAVAILABLE",
        message: expect.stringMatching(/not known whether the secret was rotated.*with force\.$/),
      },
    });
  });

  test("who waits no longer is told that it took too long", async () => {
    const methods = methodsOn({ rotateProducerSecret: away }, 10_000);
    const request = create(RotateProducerSecretRequestSchema, { producerId: "bot" });
    expect(await methods.rotateProducerSecret.handle(request, call)).toMatchObject({
      refusal: { reason: "DEADLINE_EXCEEDED" },
    });
  });

  test("a fault of the server is none of the database", async () => {
    const methods = methodsOn({ rotateProducerSecret: () => Promise.reject(new Error("fault")) });
    const request = create(RotateProducerSecretRequestSchema, { producerId: "bot" });
    await expect(methods.rotateProducerSecret.handle(request, call)).rejects.toThrow("fault");
  });

  test("the store is waited for no longer than the caller waits", async () => {
    const waited: number[] = [];
    const store: Partial<AccessStore> = {
      listProducers: async (_, __, timeoutMs) => {
        waited.push(timeoutMs);
        return { items: [], next: undefined };
      },
    };
    for (const nowMs of [0, 9_000, 9_999.5, 20_000]) {
      const methods = methodsOn(store, nowMs);
      const request = { pageSize: 0, pageToken: "" } as never;
      await methods.listProducers.handle(request, call);
    }
    expect(waited).toEqual([5_000, 1_000, 1, 1]);
  });
});
