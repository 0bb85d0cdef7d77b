import { inspect } from "node:util";

const REDACTED = "[redacted]";

/**
 * A text that must be sent as it is and never be seen, such as a bot token. Strings, JSON
 * and inspection give `[redacted]`.
 */
export class HiddenText {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself, for the one who sends it. */
  reveal(): string {
    return this.#text;
  }

  /** Always `[redacted]`. */
  toString(): string {
    return REDACTED;
  }

  /** Always `[redacted]`. */
  toJSON(): string {
    return REDACTED;
  }

  /** Always `[redacted]`. */
  [inspect.custom](): string {
    return REDACTED;
  }
}
