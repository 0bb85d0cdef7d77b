export type { Origin, Submission, Submitted } from "./accept.ts";
export { type Batcher, createBatcher, type Timers } from "./batcher.ts";
export type { Clock } from "./clock.ts";
export { createIngest, type Ingest, type IngestResult, resultMessage } from "./ingest.ts";
export type { Producer } from "./producer.ts";
export {
  type SignalCandidate,
  SignalRejectedError,
  type SignalStore,
  type StoreOutcome,
  StoreUnavailableError,
} from "./store.ts";
