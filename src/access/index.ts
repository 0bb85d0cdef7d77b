export {
  type Actor,
  type AuditAction,
  type AuditEntry,
  type AuditedState,
  isEntryId,
  type RefusedAttempt,
} from "./audit.ts";
export {
  GRACE_SECONDS_DEFAULT,
  graceViolations,
  type ProducerInfo,
  type ProducerSetting,
  type ProducerSettings,
  producerIdViolations,
  type SecretInfo,
  settingsViolations,
} from "./producer.ts";
export type {
  AccessSnapshot,
  AccessStore,
  LoadedProducer,
  LoadedToken,
  NewSecret,
  Outcome,
  Page,
  PageRequest,
  SealedSecret,
  SealedSecrets,
} from "./store.ts";
export {
  isTokenId,
  isWithin,
  LIVE_TOKENS_MAX,
  SCOPES,
  type Scope,
  seesProducer,
  type TokenInfo,
  type TokenRights,
  tokenViolations,
} from "./token.ts";
