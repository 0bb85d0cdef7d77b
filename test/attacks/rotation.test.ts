/**
 * Secrets that are rotated, revoked and forced, and producers that are disabled, on two servers
 * at once, while a bot signs on both: no signal that is signed with a live secret is refused,
 * none is taken later than a second after its secret or its producer ended, and of
 * administrators who race no two win.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ProducerService } from "../../gen/signals/v1/producer_service_pb.ts";
import { addTokens, aToken, clientOf, refusalOf } from "../server/support/tokens.ts";
import { bodies, send } from "../server/support/wire.ts";
import { type ServerProcess, spawnServer, testServerEnv } from "../support/server.ts";
import { attackedServer } from "./support/target.ts";

const admin = aToken();
const secrets: string[] = [];
const target = attackedServer({
  prepare: (databaseUrl) => addTokens(databaseUrl, [admin]),
  secrets: () => [admin.text, ...secrets],
});
let second: ServerProcess;
beforeAll(async () => {
  second = await spawnServer(testServerEnv(target.databaseUrl, { OPS_PORT: "0" }));
});
afterAll(() => second.stop());

/** By the bound that is promised, and what an answer may take on a busy machine. */
const HOLDS_WITHIN_MS = 1_000;

const servers = () => [target.server, second];
const administer = (server: ServerProcess) => clientOf(ProducerService, server.opsUrl, admin);

async function make(producerId: string): Promise<string> {
  const { secret } = await administer(target.server).createProducer({ producerId });
  secrets.push(secret);
  await settle();
  return secret;
}

/** Until each server knows. */
const settle = () => sleep(HOLDS_WITHIN_MS);

/** A signal that was sent: when, and what came of it. */
interface Sent {
  readonly startMs: number;
  readonly secret: string;
  readonly outcome: string;
}

/** A bot that sends on both servers, several at a time, with the secret that it has. */
function startBot(producerId: string, first: string) {
  let secret = first;
  let isOver = false;
  const sent: Sent[] = [];
  const senders = [...servers(), ...servers()].map(async ({ url }) => {
    while (!isOver) {
      const startMs = performance.now();
      const used = secret;
      const signing = { producerId, secret: used };
      const answer = await send(url, "REST", bodies(), { signing });
      sent.push({ startMs, secret: used, outcome: answer.error?.reason ?? "stored" });
    }
  });
  return {
    sent,
    use(next: string) {
      secret = next;
    },
    async stop() {
      isOver = true;
      await Promise.all(senders);
    },
  };
}

const TIMEOUT = { timeout: 180_000 };

test("rotations cost no signal, and a revoked secret signs no second longer", TIMEOUT, async () => {
  let secret = await make("rotated");
  const bot = startBot("rotated", secret);
  const ends = new Map<string, number>();
  for (let round = 0; round < 5; round++) {
    const [server, other] = round % 2 === 0 ? servers() : servers().toReversed();
    const rotated = await administer(server as ServerProcess).rotateProducerSecret({
      producerId: "rotated",
    });
    secrets.push(rotated.secret);
    // The bot may use it as soon as every server knows it.
    await settle();
    bot.use(rotated.secret);
    await settle();
    const old = rotated.producer?.secrets[1]?.secretId;
    await administer(other as ServerProcess).revokeProducerSecret({
      producerId: "rotated",
      secretId: String(old),
    });
    ends.set(secret, performance.now());
    const endMs = performance.now();
    while (performance.now() < endMs + HOLDS_WITHIN_MS) await sleep(50);
    for (const { url } of servers()) {
      const answer = await send(url, "REST", bodies(), {
        signing: { producerId: "rotated", secret },
      });
      expect(answer.error?.reason).toBe("UNAUTHENTICATED");
    }
    secret = rotated.secret;
  }
  await bot.stop();
  expect(bot.sent.length).toBeGreaterThan(50);
  expect(bot.sent.filter(({ outcome }) => outcome !== "stored")).toEqual([]);
});

test(
  "of rotations that race one wins, and no more than two secrets are live",
  TIMEOUT,
  async () => {
    const secret = await make("raced");
    const bot = startBot("raced", secret);
    for (let round = 0; round < 5; round++) {
      const outcomes = await Promise.all(
        Array.from({ length: 8 }, (_, index) => {
          const client = administer(servers()[index % 2] as ServerProcess);
          const rotation = client.rotateProducerSecret({ producerId: "raced" });
          return rotation.then(
            (made) => made.secret,
            async () => (await refusalOf(rotation)).reason,
          );
        }),
      );
      const made = outcomes.filter((outcome) => outcome?.startsWith("cs_sec_"));
      expect(made).toHaveLength(1);
      expect(outcomes.filter((outcome) => outcome === "ROTATION_UNDER_WAY")).toHaveLength(7);
      secrets.push(String(made[0]));
      const [row] = await target.sql`
      SELECT count(*) AS live FROM producer_secrets
      WHERE producer_id = 'raced' AND (expires_at IS NULL OR expires_at > now())
    `;
      expect(Number(row?.live)).toBe(2);
      await settle();
      bot.use(String(made[0]));
      await settle();
      // So that the next may begin.
      const { producer } = await administer(second).getProducer({ producerId: "raced" });
      await administer(second).revokeProducerSecret({
        producerId: "raced",
        secretId: String(producer?.secrets[1]?.secretId),
      });
    }
    await bot.stop();
    expect(bot.sent.filter(({ outcome }) => outcome !== "stored")).toEqual([]);
  },
);

test(
  "forced rotations, revocations and disabling that race leave nobody signing who may not",
  TIMEOUT,
  async () => {
    const first = await make("stormed");
    const made: string[] = [first];
    const bot = startBot("stormed", first);
    await Promise.all(
      servers().flatMap((server) =>
        Array.from({ length: 4 }, async (_, index) => {
          const client = administer(server);
          for (let round = 0; round < 5; round++) {
            if (index === 3) {
              await client.disableProducer({ producerId: "stormed" });
              await client.enableProducer({ producerId: "stormed" });
              continue;
            }
            const rotation = { producerId: "stormed", force: true, graceSeconds: index };
            const { secret, producer } = await client.rotateProducerSecret(rotation);
            made.push(secret);
            secrets.push(secret);
            const secretId = producer?.secrets.at(-1)?.secretId;
            if (index === 2)
              await client.revokeProducerSecret({
                producerId: "stormed",
                secretId: String(secretId),
              });
          }
        }),
      ),
    );
    await administer(target.server).disableProducer({ producerId: "stormed" });
    const endMs = performance.now();
    await sleep(HOLDS_WITHIN_MS + 500);
    await bot.stop();
    const late = bot.sent.filter(({ startMs }) => startMs > endMs + HOLDS_WITHIN_MS);
    expect(late.length).toBeGreaterThan(0);
    expect(late.filter(({ outcome }) => outcome === "stored")).toEqual([]);

    // The last secret alone is live, or with the one before it.
    await administer(second).enableProducer({ producerId: "stormed" });
    await sleep(3_000 + HOLDS_WITHIN_MS);
    const { producer } = await administer(second).getProducer({ producerId: "stormed" });
    const live = producer?.secrets.map(({ secretId }) => secretId) ?? [];
    expect(live.length).toBeLessThanOrEqual(2);
    for (const secret of made) {
      for (const { url } of servers()) {
        const answer = await send(url, "REST", bodies(), {
          signing: { producerId: "stormed", secret },
        });
        const isLive = live.some((id) => secret.startsWith(`cs_sec_${id}_`));
        expect(answer.error === undefined).toBe(isLive);
      }
    }
  },
);
