/**
 * Goes through every setting that a role or a database may have of its own, and does all
 * that the store does under values of it that nobody would choose.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import postgres from "postgres";
import {
  createAccessStore,
  createRateLimitStore,
  createSignalStore,
  type Database,
  migrateUp,
  migrationStatus,
  openDatabase,
} from "../../src/store/index.ts";
import { silentLog } from "../support/postgres.ts";
import { aCandidate, aSignal, aSignature } from "./builders.ts";

const TIMEOUT_MS = 20_000;

/** One setting with one value, ready for `ALTER ROLE … SET`. */
export interface Hostile {
  readonly name: string;
  /** As SQL. */
  readonly value: string;
}

interface SettingRow {
  readonly name: string;
  readonly vartype: "bool" | "enum" | "integer" | "real" | "string";
  readonly enumvals: readonly string[] | null;
  readonly min_val: string | null;
  readonly max_val: string | null;
}

/** A role and a database of its own, whose settings can be made hostile. */
export interface SweptDatabase extends AsyncDisposable {
  readonly url: string;
  /** The same, as if PgBouncer were between. */
  readonly pooledUrl: string;
  /** All values to try of every setting that a user or a superuser may set. */
  readonly hostiles: ReadonlyMap<string, readonly Hostile[]>;
  /** Gives the role, or the database, these settings and no others. @returns the accepted. */
  set(on: "ROLE" | "DATABASE", hostiles: readonly Hostile[]): Promise<Hostile[]>;
}

export async function openSweptDatabase(serverUrl: string): Promise<SweptDatabase> {
  const name = `swept_${randomUUID().replaceAll("-", "")}`;
  const admin = postgres(serverUrl, {
    max: 1,
    fetch_types: false,
    onnotice: () => {},
    // Thousands of changes, none of which has to outlive a crash.
    connection: { synchronous_commit: "off" },
  });
  await admin.unsafe(`CREATE ROLE ${name} LOGIN PASSWORD 'swept'`);
  await admin.unsafe(`CREATE DATABASE ${name} OWNER ${name} TEMPLATE template0`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  url.username = name;
  url.password = "swept";
  const database = openDatabase({ url: url.href, poolSize: 1, log: silentLog });
  await migrateUp(database, silentLog);
  await database.close();
  // So that the settings of this language are among those that are listed.
  await admin.unsafe("DO $$ BEGIN END $$");
  const rows = await admin.unsafe<SettingRow[]>(`
    SELECT name, vartype, to_json(enumvals) AS enumvals, min_val, max_val FROM pg_settings
    WHERE context IN ('user', 'superuser') ORDER BY name`);
  const reset = async () => {
    await admin.unsafe(`ALTER ROLE ${name} RESET ALL`);
    await admin.unsafe(`ALTER DATABASE ${name} RESET ALL`);
  };
  return {
    url: url.href,
    pooledUrl: `${url.href}?pgbouncer=true`,
    hostiles: new Map(rows.map((row) => [row.name, hostileValues(row)])),
    async set(on, hostiles) {
      await reset();
      const accepted: Hostile[] = [];
      for (const hostile of hostiles) {
        const isAccepted = await admin
          .unsafe(`ALTER ${on} ${name} SET ${hostile.name} = ${hostile.value}`)
          .then(
            () => true,
            () => false,
          );
        if (isAccepted) accepted.push(hostile);
      }
      return accepted;
    },
    async [Symbol.asyncDispose]() {
      await admin.unsafe(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.unsafe(`DROP ROLE ${name}`);
      await admin.end();
    },
  };
}

/** Values of which a setting of text may take one or the other, and mean something odd. */
const TEXTS = [
  ...["''", "' '", "'nonexistent'", "'1'", "$$'\"; odd$$", "'all'", "'C'", "'pg_default'"],
  ...["'public'", "'pg_temp'", "'pg_catalog', 'pg_temp'", "'information_schema'"],
  ...["German, DMY", "SQL, MDY", "Postgres, DMY", "ISO, DMY"],
  ...["'Asia/Kolkata'", "'America/St_Johns'", "'<odd>-13:47'", "'India'", "'Australia'"],
  ...["'LATIN1'", "'SQL_ASCII'", "'EUC_JP'", "'heap'", `'${"x".repeat(3_000)}'`],
];

function hostileValues({ name, vartype, enumvals, min_val, max_val }: SettingRow): Hostile[] {
  const values = () => {
    switch (vartype) {
      case "bool":
        return ["on", "off"];
      case "enum":
        return (enumvals ?? []).map((value) => `'${value}'`);
      case "string":
        return TEXTS;
      default:
        // Where 0 or -1 means "none", the least that means anything is 1.
        return [min_val, max_val, "1", "0", "-1"]
          .filter((value) => value !== null)
          .filter((value) => Number(value) >= Number(min_val) && Number(value) <= Number(max_val))
          .map((value) => `'${value}'`);
    }
  };
  return [...new Set(values())].map((value) => ({ name, value }));
}

/** What a sweep compares from run to run. */
const SEALED = new Uint8Array(randomBytes(60));
const SETTINGS = {
  requireApproval: false,
  allowedInstruments: ["GOLD", 'EU"R,{}\\'],
  rateLimitPerSecond: 7,
};
const EXPIRE_TIME = 1_861_402_645_123_456_000n;
const SIGNAL = aSignal({
  entryPrice: 2000.1 + 0.2,
  expireTime: 1_861_402_645_123_456_789n,
  comment: "NULL \\ ' \" \\x41 ☃",
  payload: { a: "\\x41", "☃": [1.5, null, "NULL"] },
});

/**
 * Does all that the store does, over a connection of its own.
 *
 * @returns the first thing that did not come out as it should; `undefined` if all did.
 */
export async function findBroken(url: string): Promise<string | undefined> {
  const database = openDatabase({ url, poolSize: 1, log: silentLog });
  try {
    const broken = (await findBrokenAccess(database)) ?? (await findBrokenRest(database));
    // A session that may not be idle is ended meanwhile.
    await sleep(20);
    return broken ?? (await findBrokenSignals(database));
  } catch (error) {
    return String(error);
  } finally {
    await database.close(500);
  }
}

async function findBrokenAccess(database: Database): Promise<string | undefined> {
  const store = createAccessStore(database);
  const [producerId, actor] = [randomUUID(), { tokenId: undefined, name: "sweep" }];
  const aSecret = () => ({ secretId: randomUUID(), sealed: SEALED, keyId: new Uint8Array(8) });
  const [first, second] = [aSecret(), aSecret()];
  const version = await store.version(TIMEOUT_MS);
  const producer = { producerId, displayName: "'\\x41\" ☃", ...SETTINGS };
  const token = {
    tokenId: randomUUID().replaceAll("-", ""),
    tokenSha256: new Uint8Array(randomBytes(32)),
    name: "NULL",
    scopes: ["read"] as const,
    producerIds: [producerId],
  };
  const expiring = { ...token, expireTime: EXPIRE_TIME };
  const rule = { graceSeconds: 60, force: false };
  const outcomes = [
    await store.createProducer(producer, first, actor, TIMEOUT_MS),
    await store.rotateProducerSecret(producerId, second, rule, actor, TIMEOUT_MS),
    await store.setProducerEnabled(producerId, false, actor, TIMEOUT_MS),
    await store.createToken(expiring, actor, TIMEOUT_MS),
  ];
  if (outcomes.some((outcome) => outcome !== "done")) return `access: ${outcomes}`;

  const seen = { producerIds: [producerId], secretIds: [first.secretId], tokenIds: [] };
  await store.recordUse(seen, TIMEOUT_MS);
  const loaded = await store.load(TIMEOUT_MS);
  if (loaded.version !== version + 4n) return "version";
  const expected = {
    producerId,
    enabled: false,
    ...SETTINGS,
    secrets: [second, first].map(({ secretId, sealed }) => ({ secretId, sealed })),
  };
  const found = loaded.producers.find((one) => one.producerId === producerId);
  if (!isDeepStrictEqual(found, expected)) return "producer";
  if (!loaded.tokens.some((one) => isDeepStrictEqual(one, token))) return "token";
  const ofSecret = (loaded.nextExpiryMs ?? 0) / 1_000;
  if (!(ofSecret > 0 && ofSecret <= 60)) return "next expiry";

  const info = await store.getProducer(producerId, TIMEOUT_MS);
  const [newest, kept] = info?.secrets ?? [];
  const graceNanos = (kept?.expireTime ?? 0n) - (newest?.createTime ?? 0n);
  if (info?.displayName !== producer.displayName || graceNanos !== 60_000_000_000n) return "info";
  const known = await store.getToken(token.tokenId, TIMEOUT_MS);
  if (known?.expireTime !== EXPIRE_TIME || known.name !== "NULL") return "token's info";
  const filter = { within: [producerId], producerId, tokenId: undefined, action: "producer" };
  const audit = await store.listAuditEntries(filter, { size: 9, after: undefined }, TIMEOUT_MS);
  const { display_name } = audit.items.at(-1)?.after ?? {};
  if (audit.items.length !== 2 || display_name !== producer.displayName) return "audit";
  return undefined;
}

async function findBrokenRest(database: Database): Promise<string | undefined> {
  const perSecond = SETTINGS.rateLimitPerSecond;
  const request = { producerId: randomUUID(), perSecond, least: 1, most: 3 };
  const grant = await createRateLimitStore(database).leaseTokens(request, TIMEOUT_MS);
  if (!isDeepStrictEqual(grant, { granted: 3, remaining: perSecond - 3 })) return "rate limit";

  if ((await migrateUp(database, silentLog)).length > 0) return "migrations";
  const states = await migrationStatus(database);
  const isRecent = ({ appliedAt }: { readonly appliedAt: Date | undefined }) =>
    Math.abs(Date.now() - Number(appliedAt)) < 3_600_000;
  return states.length > 0 && states.every(isRecent) ? undefined : "migration status";
}

async function findBrokenSignals(database: Database): Promise<string | undefined> {
  const store = createSignalStore(database);
  const candidate = aCandidate({ requestSignature: aSignature() }, SIGNAL);
  // Without a key, each is a signal of its own.
  const keyless = [0, 1].map(() =>
    aCandidate({ idempotencyKey: undefined }, aSignal({ stopLoss: undefined })),
  );
  const outcomes = await store.ingest([candidate, ...keyless], TIMEOUT_MS);
  if (outcomes.some(({ kind }) => kind !== "stored")) return "outcomes";
  const retry = { ...candidate, signalId: randomUUID(), requestSignature: aSignature() };
  const [duplicate] = await store.ingest([retry], TIMEOUT_MS);
  if (duplicate?.kind !== "duplicate" || duplicate.signalId !== candidate.signalId) {
    return "duplicate";
  }
  const found = await store.findSignal(candidate.signalId, TIMEOUT_MS);
  const isSame =
    isDeepStrictEqual(found?.signal, SIGNAL) &&
    isDeepStrictEqual(found?.contentSha256, candidate.contentSha256) &&
    found?.receiveTime === duplicate.receiveTime;
  return isSame ? undefined : "signal";
}
