import type { Contender } from "./contender.ts";

/** No server: the load generator calls the database itself, one row at a time. */
export const bareInserts: Contender = direct("insert", "bare inserts");

/** No server: the load generator calls Countersign's store, in batches. */
export const storeCall: Contender = direct("store", "store call");

function direct(kind: "insert" | "store", name: string): Contender {
  return {
    name,
    async start({ databaseUrl }) {
      return {
        target: { kind, databaseUrl },
        pid: undefined,
        async [Symbol.asyncDispose]() {},
      };
    },
  };
}
