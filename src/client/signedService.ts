import { IngestService } from "../../gen/signals/v1/ingest_service_pb.ts";

/**
 * The service whose calls are signed. All others take a bearer token, and a signature
 * would only cost time.
 */
export const SIGNED_SERVICE = IngestService.typeName;

/** The path that a signature covers: the one that the service sees, without any prefix. */
export function endpointOf(service: string, method: string): string {
  return `/${service}/${method}`;
}
