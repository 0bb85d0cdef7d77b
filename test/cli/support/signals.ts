import type postgres from "postgres";

/** A signal in the form of REST, with parts of it replaced. */
export function signalJson(overrides: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    instrument: "GOLD",
    side: "buy",
    entry_price: 1_950.5,
    timestamp: "2025-10-25T14:30:45.123456789Z",
    ...overrides,
  });
}

/** A row of the table of signals. */
export type SignalRow = Readonly<Record<string, unknown>>;

/** The stored signals of a database, in the order in which they were stored. */
export function storedSignals(sql: postgres.Sql): Promise<readonly SignalRow[]> {
  return sql`SELECT * FROM signals ORDER BY sequence`;
}
