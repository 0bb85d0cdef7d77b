/** What the database holds after a round, held against what it may hold. */
import { createSignalStore, openDatabase, type StoredSignal } from "../../src/store/index.ts";
import { silentLog } from "../support/postgres.ts";
import { VICTIM } from "./messages.ts";
import { type Allowed, allowedBy, type Claim, digestOf } from "./oracle/oracle.ts";
import { faultsOf } from "./oracle/rules.ts";
import { OTHER_PRODUCERS } from "./request.ts";

/** Looks at the rows that came since it last looked. */
export interface RowWatch {
  /** Rows like these may come. */
  allow(claims: readonly Claim[], signatures: readonly string[]): void;
  /** What is wrong with the rows that came. */
  faults(): Promise<string[]>;
  /** How many rows there are of what was allowed. */
  readonly count: number;
  /** The key of each row that came. */
  hasKey(key: string): boolean;
  close(): Promise<void>;
}

const EVERYTHING = 1_000_000;
const READ_TIMEOUT_MS = 30_000;

/** Begins with an empty table. @param tokenIds those that call. */
export async function watchRows(url: string, tokenIds: readonly string[]): Promise<RowWatch> {
  const database = openDatabase({ url, poolSize: 1, log: silentLog });
  const store = createSignalStore(database);
  const allowed = new Map<string, Allowed[]>();
  const signatures = new Set<string>();
  const keys = new Set<string>();
  const untouchedAtStart = await untouched();
  let afterSequence = 0n;
  let signaturesSeen = 0;
  let count = 0;

  function placeOf(producerId: string, signal: StoredSignal["signal"]): string {
    return `${producerId} ${digestOf(signal)}`;
  }

  /** All that neither a signal nor a call with the fuzzer's own tokens may change. */
  async function untouched(): Promise<string> {
    const [row] = await database.query<{ readonly digest: string }>(
      READ_TIMEOUT_MS,
      (sql) => sql`
        SELECT md5(string_agg(line, ',' ORDER BY line)) AS digest FROM (
          SELECT (to_jsonb(one) - 'last_seen_at' - 'updated_at')::text AS line
            FROM producers one WHERE producer_id <> ${VICTIM}
          UNION ALL SELECT (to_jsonb(one) - 'last_used_at')::text
            FROM producer_secrets one WHERE producer_id <> ${VICTIM}
          UNION ALL SELECT (to_jsonb(one) - 'last_used_at')::text
            FROM access_tokens one WHERE producer_ids IS DISTINCT FROM ARRAY[${VICTIM}]::text[]
          UNION ALL SELECT to_jsonb(one)::text FROM audit_log one
            WHERE actor_token_id <> ALL (string_to_array(${tokenIds.join(" ")}, ' '))
            OR actor_token_id IS NULL AND action NOT LIKE '%.first_use'
        ) AS lines
      `,
    );
    return row?.digest ?? "";
  }

  return {
    allow(claims, valid) {
      for (const claim of claims) {
        for (const one of allowedBy(claim, BigInt(Date.now()) * 1_000_000n)) {
          const place = placeOf(claim.producerId, one.signal);
          allowed.set(place, [...(allowed.get(place) ?? []), one]);
        }
      }
      for (const signature of valid) signatures.add(signature);
    },

    async faults() {
      const faults: string[] = [];
      const rows = await store.listSignals({ afterSequence, limit: EVERYTHING }, READ_TIMEOUT_MS);
      for (const row of rows) {
        afterSequence = row.sequence;
        count += 1;
        if (row.idempotencyKey !== undefined) keys.add(row.idempotencyKey);
        const why = faultsOfRow(row, allowed.get(placeOf(row.producerId, row.signal)) ?? []);
        if (why.length > 0) faults.push(`${why.join(", ")}: ${textOf(row)}`);
      }
      const proofs = await database.query<{ readonly signature: string }>(
        READ_TIMEOUT_MS,
        (sql) => sql`
        SELECT encode(request_signature, 'base64') AS signature FROM request_signatures
        ORDER BY created_at OFFSET ${Math.max(0, signaturesSeen - 1_000)}
      `,
      );
      signaturesSeen += Math.max(0, proofs.length - 1_000);
      for (const { signature } of proofs) {
        if (!signatures.has(signature)) faults.push(`a signature that nobody made: ${signature}`);
      }
      if ((await untouched()) !== untouchedAtStart) {
        faults.push("producers, tokens or the audit changed that nobody may change");
      }
      return faults;
    },

    get count() {
      return count;
    },
    hasKey: (key) => keys.has(key),
    close: () => database.close(),
  };
}

function faultsOfRow(row: StoredSignal, allowed: readonly Allowed[]): string[] {
  const { signal, idempotencyKey, producerId } = row;
  const faults = faultsOf(signal, idempotencyKey, row.receiveTime);
  const isSaid = allowed.some(({ key, isKeyOpen }) => isKeyOpen || key === idempotencyKey);
  if (!isSaid)
    faults.push(allowed.length === 0 ? "nobody said so" : "nobody said so under this key");
  if (Buffer.from(row.contentSha256).toString("hex") !== digestOf(signal))
    faults.push("another digest");
  const producer = OTHER_PRODUCERS.find((one) => one.producerId === producerId);
  if (producer !== undefined && "allowedInstruments" in producer) {
    if (!producer.allowedInstruments.some((name) => name === signal.instrument))
      faults.push("not its instrument");
  }
  const isPending = producer !== undefined && "requireApproval" in producer;
  if (row.status !== (isPending ? "pending_approval" : "received"))
    faults.push(`status ${row.status}`);
  return faults;
}

function textOf(row: StoredSignal): string {
  return JSON.stringify(row, (_, value) => (typeof value === "bigint" ? `${value}` : value));
}
