/** What the database takes when no server stands before it. */
import { pino } from "pino";
import postgres from "postgres";
import { createSignalStore, openDatabase } from "../../src/store/index.ts";
import { insertSignal } from "../baseline/insertSignal.ts";
import { candidateOf } from "./signals.ts";
import type { Exchange, Transport } from "./transport.ts";

/** Connections to the database: the same as the server has by default. */
const POOL_SIZE = 10;
const STORE_TIMEOUT_MS = 5_000;

/** Single-row inserts by the driver, as it comes. */
export function insertTransport(databaseUrl: string, producerId: string): Transport {
  const sql = postgres(databaseUrl, { max: POOL_SIZE });
  return {
    prepare(signals): Exchange {
      const [only] = signals;
      if (only === undefined || signals.length !== 1) throw new Error("an insert takes one signal");
      const candidate = candidateOf(only, producerId);
      return async () => {
        if (!(await insertSignal(sql, candidate))) throw new Error("the key was there already");
        return 1;
      };
    },
    close: () => sql.end(),
  };
}

/** The store's own call: what the batcher calls, without the batcher. */
export function storeTransport(databaseUrl: string, producerId: string): Transport {
  const log = pino({ level: "silent" });
  const database = openDatabase({ url: databaseUrl, poolSize: POOL_SIZE, log });
  const store = createSignalStore(database);
  return {
    prepare(signals): Exchange {
      const candidates = signals.map((signal) => candidateOf(signal, producerId));
      return async () => {
        const outcomes = await store.ingest(candidates, STORE_TIMEOUT_MS);
        return outcomes.filter(({ kind }) => kind === "stored").length;
      };
    },
    close: () => database.close(),
  };
}
