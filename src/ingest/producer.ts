/** What the domain must know of the producer that sent a signal. */
export interface Producer {
  /** Matches `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`. */
  readonly producerId: string;
  /** Whether a person must approve its signals before they count. */
  readonly requireApproval: boolean;
  /** The instruments that it may signal; `undefined` allows all. */
  readonly allowedInstruments: ReadonlySet<string> | undefined;
}
