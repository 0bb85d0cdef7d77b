/**
 * How large a request may be. Client, RPC and REST keep to the same limits.
 */

/** The greatest request for one signal, alone or as an item of a batch, in bytes. */
export const SIGNAL_REQUEST_MAX_BYTES = 64 * 1024;
/** The greatest request for a batch, in bytes. */
export const BATCH_REQUEST_MAX_BYTES = 4 * 1024 * 1024;
/** The most signals in one batch. */
export const BATCH_MAX_SIGNALS = 1_000;

/** The greatest payload that a server takes unless told otherwise, in bytes of compact UTF-8 JSON. */
export const DEFAULT_PAYLOAD_MAX_BYTES = 32_768;
/** The least that it can be told to take, in bytes: `{}`. The most is a whole request. */
export const LOWEST_PAYLOAD_MAX_BYTES = 2;
