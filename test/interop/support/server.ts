/** A real server with a real database, and a view on what it stored. */
import { afterAll, beforeAll } from "vitest";
import { contentSha256, type Signal } from "../../../src/signal/index.ts";
import {
  createSignalStore,
  openDatabase,
  type PostgresSignalStore,
  type StoredSignal,
} from "../../../src/store/index.ts";
import { createTestDatabase, silentLog } from "../../support/postgres.ts";
import { startTestServer, TEST_PRODUCER_ID } from "../../support/server.ts";

/** What a test of interoperability works with. Made by {@link startInterop}. */
export interface Interop extends AsyncDisposable {
  /** Such as `http://127.0.0.1:43211`. */
  readonly url: string;
  /** Where PostgreSQL itself can be asked. */
  readonly databaseUrl: string;
  readonly store: PostgresSignalStore;
  /** Everything that is stored, in the order of its sequence. */
  all(): Promise<StoredSignal[]>;
}

const EVERYTHING = 1_000_000;

/** Starts a server on a database of its own. */
export async function startInterop(
  overrides: Readonly<Record<string, string | undefined>> = {},
): Promise<Interop> {
  await using parts = new AsyncDisposableStack();
  const testDatabase = await createTestDatabase();
  parts.defer(() => testDatabase.drop());
  const server = await startTestServer(testDatabase.url, overrides);
  parts.defer(() => server.close());
  const database = openDatabase({ url: testDatabase.url, poolSize: 1, log: silentLog });
  parts.defer(() => database.close());
  const store = createSignalStore(database);
  const owned = parts.move();
  return {
    url: server.url,
    databaseUrl: testDatabase.url,
    store,
    all: () => store.listSignals({ afterSequence: 0n, limit: EVERYTHING }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Starts one before the tests of a file, and ends it after them. */
export function interopOfFile(): Interop {
  const interop = {} as Interop;
  beforeAll(async () => {
    Object.assign(interop, await startInterop());
  });
  afterAll(() => interop[Symbol.asyncDispose]());
  return interop;
}

/** What the row of a signal must be, as far as the producer decides it. */
export function rowOf(
  signal: Signal,
  overrides: Partial<StoredSignal> = {},
): Omit<StoredSignal, "signalId" | "sequence" | "receiveTime" | "updateTime"> {
  return {
    producerId: TEST_PRODUCER_ID,
    idempotencyKey: undefined,
    contentSha256: new Uint8Array(contentSha256(signal)),
    status: "received",
    signal,
    ...overrides,
  };
}

/** Of a row, what the producer decides: the counterpart of {@link rowOf}. */
export function decidedByProducer(row: StoredSignal | undefined) {
  if (row === undefined) throw new Error("There is no such row.");
  const { producerId, idempotencyKey, contentSha256, status, signal } = row;
  return { producerId, idempotencyKey, contentSha256, status, signal };
}
