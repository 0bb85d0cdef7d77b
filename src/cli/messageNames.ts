/** The messages of the signed RPCs, apart from their schemas, which take long to load. */
export const MESSAGE_NAMES = ["IngestRequest", "IngestBatchRequest"] as const;

/** One of {@link MESSAGE_NAMES}. */
export type MessageName = (typeof MESSAGE_NAMES)[number];
