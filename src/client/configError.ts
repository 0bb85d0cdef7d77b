/** One wrong or missing setting. */
export interface ConfigProblem {
  /** The option or the environment variable. */
  readonly name: string;
  /** What is wrong, as an English phrase. Never repeats the value: it may be a secret. */
  readonly rule: string;
}

/** The client cannot start: its options or its environment are wrong. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** Every problem, so that all can be mended at once. */
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const listed = problems.map(({ name, rule }) => `${name} ${rule}`).join("; ");
    super(`The client's configuration is wrong: ${listed}.`);
    this.problems = problems;
  }
}
