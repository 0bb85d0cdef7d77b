export { createAccessStore } from "./accessStore.ts";
export { DatabaseUrlError } from "./connection/databaseUrl.ts";
export {
  type Database,
  type DatabaseOptions,
  type DatabaseUsage,
  openDatabase,
} from "./database.ts";
export { EmbeddedPostgresError } from "./embedded/account.ts";
export { NoEmbeddedPostgresError } from "./embedded/binaries.ts";
export {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from "./embedded.ts";
export { DatabaseError, MissingGrantError } from "./failure.ts";
export { ForeignObjectsError } from "./foreignObjects.ts";
export { takeKeyRotationTurn } from "./keyRotationLock.ts";
export {
  assertMayStart,
  type MigrateDownOptions,
  type MigrationState,
  migrateDown,
  migrateUp,
  migrationStatus,
  NewerDatabaseError,
} from "./migrate.ts";
export { listenToChannel, type Notifications, type NotificationsOptions } from "./notifications.ts";
export {
  createRateLimitStore,
  type RateLimitStore,
  type TokenGrant,
  type TokenRequest,
} from "./rateLimitStore.ts";
export {
  assertSafe,
  connectionLimit,
  type DatabaseFaultKind,
  findFaults,
  UnsafeDatabaseError,
} from "./safety.ts";
export {
  createSignalStore,
  type ListSignalsOptions,
  type PostgresSignalStore,
  type StoredSignal,
} from "./signalStore.ts";
export { createSignaturePurge, type SignaturePurge } from "./signaturePurge.ts";
