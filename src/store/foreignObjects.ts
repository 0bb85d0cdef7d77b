/** Finds what others have made under names that are ours, before anything is made. */

import type { Database } from "./database.ts";
import type { SchemaObject } from "./migrationFiles.ts";
import { toArray } from "./values.ts";

/** The schema has tables or functions of others by our names. The message says what to do. */
export class ForeignObjectsError extends Error {
  override readonly name = "ForeignObjectsError";

  constructor(schema: string, objects: readonly string[]) {
    super(
      `The schema ${schema} has objects of another program by Countersign's names: ${objects.join(", ")}. ` +
        "Nothing was changed. Give Countersign a schema of its own: run CREATE SCHEMA countersign; and add " +
        "schema=countersign to DATABASE_URL; or give it a database of its own.",
    );
  }
}

/** What the schema has by these names, in words. Empty if it has nothing. */
export async function findByName(
  database: Database,
  objects: readonly SchemaObject[],
  timeoutMs: number,
): Promise<{ readonly schema: string; readonly found: readonly string[] }> {
  const functions = objects.filter(({ kind }) => kind === "function").map(({ name }) => name);
  // Tables, views, sequences and indexes share their names.
  const relations = objects.filter(({ kind }) => kind !== "function").map(({ name }) => name);
  const rows = await database.query<{ schema: string; kind: string; name: string }>(
    timeoutMs,
    (sql) => sql`
      SELECT current_schema()::text AS schema, name,
        CASE kind
          WHEN 'f' THEN 'function' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index'
          WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'view'
          ELSE 'table'
        END AS kind
      FROM (
        SELECT relname::text AS name, relkind::text AS kind FROM pg_class
        WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))
          AND relname = ANY(${toArray(relations)}::text[])
        UNION ALL
        SELECT proname::text, 'f' FROM pg_proc
        WHERE pronamespace = to_regnamespace(quote_ident(current_schema()))
          AND proname = ANY(${toArray(functions)}::text[])
      ) AS object
      ORDER BY name
    `,
  );
  return {
    schema: rows[0]?.schema ?? "",
    found: rows.map(({ kind, name }) => `${kind} ${name}`),
  };
}
