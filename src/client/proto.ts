/**
 * The generated messages and services of `signals.v1`, published as `countersign/proto`,
 * for clients that are built on a transport of their own.
 */
export {
  type IngestBatchRequest,
  IngestBatchRequestSchema,
  type IngestBatchResponse,
  IngestBatchResponseSchema,
  type IngestRequest,
  IngestRequestSchema,
  type IngestResponse,
  IngestResponseSchema,
  IngestService,
  type SignalError,
  SignalErrorSchema,
} from "../../gen/signals/v1/ingest_service_pb.ts";
export {
  Side,
  SideSchema,
  type Signal,
  SignalSchema,
  SignalStatus,
  SignalStatusSchema,
} from "../../gen/signals/v1/signal_pb.ts";
