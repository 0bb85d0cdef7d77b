import type { MigrateDownOptions, MigrationState } from "../../store/index.ts";
import { usageError } from "../cliError.ts";

/**
 * The names of the migrations that a step down reverts, the last first.
 *
 * @throws CliError if the migration to go back to is not applied.
 */
export function migrationsToRevert(
  states: readonly MigrationState[],
  extent: MigrateDownOptions,
): string[] {
  const applied = states.filter(({ appliedAt }) => appliedAt !== undefined).map(({ name }) => name);
  if ("steps" in extent) return applied.slice(-extent.steps).reverse();
  const first = applied.indexOf(extent.to);
  if (first < 0) {
    throw usageError(
      `--to ${extent.to} is not an applied migration. Applied are: ${applied.join(", ") || "none"}.`,
    );
  }
  return applied.slice(first).reverse();
}
