/** The greatest size of a request's headers, over either HTTP version. */
export const HEADERS_MAX_BYTES = 16 * 1024;
/** How many headers a request may have. */
export const HEADERS_MAX_COUNT = 100;
