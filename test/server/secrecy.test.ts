import { randomBytes } from "node:crypto";
import { expect, it, onTestFinished } from "vitest";
import { createSecretBox, SecretText } from "../../src/server/auth/secretBox.ts";
import { serverConfigFromEnv, startServer } from "../../src/server/index.ts";
import { openDatabase } from "../../src/store/index.ts";
import { shown } from "../alerts/support.ts";
import { createTestDatabase, silentLog } from "../support/postgres.ts";
import { leaksIn } from "../support/secrecy/canaries.ts";
import {
  TEST_MASTER_KEY,
  TEST_PRODUCER_ID,
  TEST_SECRET,
  testServerEnv,
} from "../support/server.ts";
import { directoryOf } from "./support/directory.ts";
import { aToken } from "./support/tokens.ts";

const key = Buffer.from(TEST_MASTER_KEY, "base64");

it("shows no secret in anything that holds one", async () => {
  const { url, drop } = await createTestDatabase();
  onTestFinished(drop);
  const database = openDatabase({ url, poolSize: 1, log: silentLog });
  onTestFinished(() => database.close());
  const unreachable = openDatabase({ url: withPort(url, 1), poolSize: 1, log: silentLog });
  onTestFinished(() => unreachable.close());
  const env = testServerEnv(url, {
    COUNTERSIGN_PREVIOUS_MASTER_KEY: randomBytes(32).toString("base64"),
  });
  const config = serverConfigFromEnv(env);
  const server = await startServer({ ...config, logLevel: "silent" });
  onTestFinished(() => server.close());
  const box = createSecretBox([key]);
  const secret = new SecretText(TEST_SECRET);
  const sealed = box.seal(secret, TEST_PRODUCER_ID, undefined);

  const made = {
    config,
    "what has the config": { config },
    server,
    database,
    "what the database refuses": await thrownBy(() =>
      database.query(5_000, (sql) => sql`SELECT 1 / 0`),
    ),
    "that there is no database": await thrownBy(() =>
      unreachable.query(5_000, (sql) => sql`SELECT 1`),
    ),
    "wrong variables": await thrownBy(() =>
      serverConfigFromEnv({
        ...env,
        DATABASE_URL: url.replace("//", "/"),
        COUNTERSIGN_MASTER_KEY: TEST_MASTER_KEY.slice(4),
        HMAC_PRODUCER_SECRET: aToken().text,
      }),
    ),
    secret,
    box,
    sealed,
    opened: box.open(sealed?.sealed ?? key, TEST_PRODUCER_ID),
    "what does not open": await thrownBy(() => box.open(key, TEST_PRODUCER_ID)),
    known: directoryOf(TEST_PRODUCER_ID).findProducer(TEST_PRODUCER_ID),
  };
  const leaks = Object.entries(made).map(([name, value]) => [name, leaksIn(shown(value))]);
  expect(Object.fromEntries(leaks.filter(([, found]) => found?.length))).toEqual({});
});

function withPort(url: string, port: number): string {
  const other = new URL(url);
  other.port = String(port);
  return other.href;
}

async function thrownBy(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error("It threw nothing.");
}
