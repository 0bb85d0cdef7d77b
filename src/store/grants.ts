/**
 * What the database lets this role do, looked at before it is tried, so that what is missing
 * is named with the command that gives it. docs/operations.md has the same commands.
 */

import type { Database } from "./database.ts";
import { MissingGrantError } from "./failure.ts";
import type { SchemaObject } from "./migrationFiles.ts";
import { RECORD_TABLE } from "./migrationRecord.ts";
import { toArray } from "./values.ts";

/** What serving needs of each table. */
const TABLES: Readonly<Record<string, readonly string[]>> = {
  producers: ["SELECT", "INSERT", "UPDATE"],
  producer_secrets: ["SELECT", "INSERT", "UPDATE"],
  access_tokens: ["SELECT", "INSERT", "UPDATE"],
  sealing_key: ["SELECT", "INSERT", "UPDATE"],
  access_version: ["SELECT", "UPDATE"],
  // What is in it stays as it is.
  audit_log: ["SELECT", "INSERT"],
  signals: ["SELECT", "INSERT"],
  request_signatures: ["SELECT", "INSERT", "UPDATE", "DELETE"],
  maintenance_tasks: ["SELECT", "UPDATE"],
  rate_limit_buckets: ["SELECT", "INSERT", "UPDATE"],
};

const SEQUENCES = ["signal_sequence", "audit_entry_id"];

/** Everybody may execute these, unless the defaults of the database were changed. */
const FUNCTIONS = [
  "ingest_signals",
  "answer_known_signals",
  "lock_signal_sequence",
  "epoch_micros",
  "lease_rate_tokens",
  "create_producer",
  "update_producer",
  "rotate_producer_secret",
  "revoke_producer_secret",
  "ensure_producer",
  "create_access_token",
  "revoke_access_token",
  "reseal_producer_secrets",
  "record_use",
  "is_sealing_key",
  "live_secret_ids",
  "add_secret",
  "audited_producer",
  "audited_secrets",
  "audited_token",
  "audited_time",
];

/** Each right that serving needs, beside USAGE of the schema, as in `GRANT … TO`. */
const SERVING_GRANTS: readonly Grant[] = [
  ...Object.entries(TABLES).flatMap(([name, privileges]) =>
    privileges.map((privilege) => ({ kind: "TABLE", name, privilege })),
  ),
  ...SEQUENCES.map((name) => ({ kind: "SEQUENCE", name, privilege: "USAGE" })),
  ...FUNCTIONS.map((name) => ({ kind: "FUNCTION", name, privilege: "EXECUTE" })),
];

interface Grant {
  readonly kind: string;
  readonly name: string;
  readonly privilege: string;
}

/**
 * Makes sure that this role may serve on a schema that is migrated. That it may read which
 * migrations are applied is already known then.
 *
 * @throws MissingGrantError
 * @throws StoreUnavailableError
 */
export async function assertMayServe(database: Database, timeoutMs: number): Promise<void> {
  const wanted = SERVING_GRANTS;
  const missing = await database.query<Grant & { readonly role: string }>(
    timeoutMs,
    (sql) => sql`
      SELECT quote_ident(current_user) AS role, kind, name, privilege
      FROM unnest(
        ${toArray(wanted.map(({ kind }) => kind))}::text[],
        ${toArray(wanted.map(({ name }) => name))}::text[],
        ${toArray(wanted.map(({ privilege }) => privilege))}::text[]
      ) AS wanted (kind, name, privilege)
      WHERE NOT coalesce(
        CASE kind
          WHEN 'TABLE' THEN has_table_privilege(to_regclass(name), privilege)
          WHEN 'SEQUENCE' THEN has_sequence_privilege(to_regclass(name), privilege)
          ELSE has_function_privilege(to_regproc(name), privilege)
        END,
        false
      )
    `,
  );
  const [first] = missing;
  if (first === undefined) return;
  const byObject = Map.groupBy(missing, ({ kind, name }) => `${kind} ${name}`);
  const grants = [...byObject].map(([object, of]) => {
    const privileges = of.map(({ privilege }) => privilege).join(", ");
    return `GRANT ${privileges} ON ${object} TO ${first.role};`;
  });
  throw new MissingGrantError(
    `The role ${first.role} lacks privileges that the server needs. As the owner of the tables, run: ${grants.join(" ")}`,
  );
}

interface MigratingRole {
  readonly role: string;
  readonly database: string;
  /** `undefined` if none of `search_path` exists and may be used. */
  readonly schema: string | null;
  readonly may_create: boolean | null;
  /** Such as `table signals, which belongs to owner`. */
  readonly foreign_objects: readonly string[] | null;
}

/**
 * What keeps this role from migrating, as a sentence; `undefined` if nothing does.
 *
 * @param existing what earlier migrations have made: only its owner may change it.
 * @throws StoreUnavailableError
 */
export async function findMissingMigrationGrant(
  database: Database,
  existing: readonly SchemaObject[],
  timeoutMs: number,
): Promise<string | undefined> {
  const relations = existing.filter(({ kind }) => kind !== "function" && kind !== "index");
  const functions = existing.filter(({ kind }) => kind === "function");
  const [found] = await database.query<MigratingRole>(
    timeoutMs,
    (sql) => sql`
      SELECT quote_ident(current_user) AS role, quote_ident(current_database()) AS database,
        quote_ident(current_schema()) AS schema,
        has_schema_privilege(current_schema(), 'CREATE') AS may_create,
        (
          SELECT to_json(array_agg(name || ', which belongs to ' || quote_ident(rolname) ORDER BY name))
          FROM (
            SELECT relname::text AS name, relowner AS owner FROM pg_class
            WHERE pg_table_is_visible(oid)
              AND relname = ANY(${toArray([RECORD_TABLE, ...relations.map(({ name }) => name)])}::text[])
            UNION ALL
            SELECT proname::text, proowner FROM pg_proc
            WHERE pg_function_is_visible(oid)
              AND proname = ANY(${toArray(functions.map(({ name }) => name))}::text[])
          ) AS object
          JOIN pg_roles ON pg_roles.oid = owner
          WHERE NOT pg_has_role(current_user, owner, 'USAGE')
        ) AS foreign_objects
    `,
  );
  if (found === undefined) return "The database does not tell what this role may do.";
  const { role, schema } = found;
  if (schema === null) {
    return `The role ${role} has no schema to use in the database ${found.database}. Run: CREATE SCHEMA countersign AUTHORIZATION ${role}; and add schema=countersign to DATABASE_URL, or GRANT USAGE, CREATE ON SCHEMA … TO ${role}; for one that is there.`;
  }
  const others = "or migrate as another role: countersign migrate up";
  if (found.may_create !== true) {
    return `The role ${role} may not migrate the database, since it lacks CREATE on the schema ${schema}. Run: GRANT CREATE ON SCHEMA ${schema} TO ${role}; ${others}`;
  }
  const [object] = found.foreign_objects ?? [];
  if (object !== undefined) {
    return `The role ${role} may not migrate the database, since it does not own ${object}. Migrate as that role: countersign migrate up`;
  }
  return undefined;
}
