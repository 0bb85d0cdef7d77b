/** Runs the migrations and prints what they did. */
import {
  type Database,
  type MigrateDownOptions,
  type MigrationState,
  migrateDown as migrateDatabaseDown,
  migrateUp as migrateDatabaseUp,
  migrationStatus,
} from "../../store/index.ts";
import { usageError } from "../cliError.ts";
import { readDatabaseConfig, silentLog, withDatabase } from "../database.ts";
import { readEnvironment } from "../environment.ts";
import { writeJson, writeOut } from "../output.ts";
import { writeTable } from "../table.ts";

/** The options of all three commands. */
export interface MigrateOptions {
  readonly envFile?: string;
  readonly json?: boolean;
}

/** The options of `migrate down`. */
export interface MigrateDownArguments extends MigrateOptions {
  readonly steps?: number;
  readonly to?: string;
  readonly yes?: boolean;
}

/** `countersign migrate up`. */
export async function migrateUp(options: MigrateOptions): Promise<void> {
  const applied = await onDatabase(options, { mayCreate: true }, (database) =>
    migrateDatabaseUp(database, silentLog),
  );
  await printChanges(options, applied, "applied", "Nothing to do: all migrations are applied.");
}

/** `countersign migrate down`. */
export async function migrateDown(options: MigrateDownArguments): Promise<void> {
  const { steps = 1, to } = options;
  const extent = to === undefined ? { steps } : { to };
  const reverted = await onDatabase(options, { mayCreate: false }, async (database) => {
    const names = migrationsToRevert(await migrationStatus(database), extent);
    if (names.length > 0 && options.yes !== true) {
      throw usageError(
        `This would revert ${names.join(", ")} and delete the data in it. Add --yes to do it.`,
      );
    }
    return names.length === 0 ? [] : migrateDatabaseDown(database, silentLog, extent);
  });
  await printChanges(options, reverted, "reverted", "Nothing to do: no migration is applied.");
}

/**
 * The names of the migrations that a step down reverts, the last first.
 *
 * @throws CliError if the migration to go back to is not applied.
 */
function migrationsToRevert(
  states: readonly MigrationState[],
  extent: MigrateDownOptions,
): string[] {
  const applied = states.filter(({ appliedAt }) => appliedAt !== undefined).map(({ name }) => name);
  const first = "steps" in extent ? -extent.steps : applied.indexOf(extent.to);
  if ("to" in extent && first < 0) {
    throw usageError(
      `--to ${extent.to} is not an applied migration. Applied are: ${applied.join(", ") || "none"}.`,
    );
  }
  return applied.slice(first).reverse();
}

/** `countersign migrate status`. */
export async function showMigrationStatus(options: MigrateOptions): Promise<void> {
  const states = await onDatabase(options, { mayCreate: false }, migrationStatus);
  if (options.json === true) {
    for (const { name, appliedAt } of states) {
      await writeJson({ name, applied_at: appliedAt?.toISOString() ?? null });
    }
    return;
  }
  await writeTable([{ title: "MIGRATION" }, { title: "APPLIED" }], states.map(statusRow));
}

function statusRow({ name, appliedAt }: MigrationState): string[] {
  return [name, appliedAt?.toISOString() ?? "pending"];
}

async function printChanges(
  { json }: MigrateOptions,
  names: readonly string[],
  change: "applied" | "reverted",
  nothing: string,
): Promise<void> {
  if (json === true) {
    for (const name of names) await writeJson({ name, change });
    return;
  }
  const lines = names.length === 0 ? [nothing] : names.map((name) => `${change} ${name}`);
  await writeOut(`${lines.join("\n")}\n`);
}

/** Does work on the database that the environment names. */
function onDatabase<T>(
  { envFile }: MigrateOptions,
  { mayCreate }: { readonly mayCreate: boolean },
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const config = readDatabaseConfig(readEnvironment(envFile));
  return withDatabase(config, { mayCreate, applicationName: "countersign migrate" }, work);
}
