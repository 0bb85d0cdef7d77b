/**
 * Who is at the other end of a connection, as far as limits for strangers need to know.
 */

/** One connection, as its requests see it. */
export interface Caller {
  /** By `addressKey`: what limits by address count as one. */
  readonly address: string;
  /** The same object for all requests of one connection. */
  readonly connection: object;
  /** Whether a producer has proven itself on this connection. */
  readonly isProven: boolean;
  /** Hangs up, whatever is under way. */
  end(): void;
  /** Notes that a producer has proven itself on this connection just now. */
  prove(): void;
}
