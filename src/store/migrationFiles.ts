/** The migrations as files: their names, their scripts, and what they make. */
import { readdir, readFile } from "node:fs/promises";

const MIGRATIONS_FOLDER = new URL("./migrations/", import.meta.url);

/** Something that a migration makes in the schema under a name of its own. */
export interface SchemaObject {
  readonly kind: "table" | "sequence" | "view" | "index" | "function";
  readonly name: string;
}

/** The names of all migrations, in order, such as `0001_producers`. */
export async function readMigrationNames(): Promise<string[]> {
  const suffix = ".up.sql";
  const files = await readdir(MIGRATIONS_FOLDER);
  return files
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length))
    .sort();
}

/** What a migration does. */
export function readMigration(name: string, direction: "up" | "down"): Promise<string> {
  return readFile(new URL(`${name}.${direction}.sql`, MIGRATIONS_FOLDER), "utf8");
}

/** What migrations make, but for what gets its name from PostgreSQL. */
export async function readCreatedObjects(names: readonly string[]): Promise<SchemaObject[]> {
  const scripts = await Promise.all(names.map((name) => readMigration(name, "up")));
  return scripts.flatMap(createdObjects);
}

/** Each `CREATE` begins a line in the migrations. One that replaces makes nothing. */
function createdObjects(script: string): SchemaObject[] {
  const created = /^CREATE (?:UNIQUE |UNLOGGED )?(TABLE|SEQUENCE|VIEW|INDEX|FUNCTION) ([a-z_]+)/gm;
  return [...script.matchAll(created)].map(([, kind = "", name = ""]) => ({
    kind: kind.toLowerCase() as SchemaObject["kind"],
    name,
  }));
}
