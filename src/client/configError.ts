/** One wrong or missing setting. */
export interface ConfigProblem {
  /** The option or the environment variable. */
  readonly name: string;
  /** What is wrong, as an English phrase. Never repeats the value: it may be a secret. */
  readonly rule: string;
}

/** A client, an outbox or alerts cannot start: the options or the environment are wrong. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** Every problem, so that all can be corrected at once. */
  readonly problems: readonly ConfigProblem[];

  /** @param owner whose configuration it is, in the genitive. */
  constructor(problems: readonly ConfigProblem[], owner = "The client's") {
    const listed = problems.map(({ name, rule }) => `${name} ${rule}`).join("; ");
    super(`${owner} configuration is wrong: ${listed}.`);
    this.problems = problems;
  }
}
