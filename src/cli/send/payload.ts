import { InvalidArgumentError } from "commander";
import { parseJsonText } from "../../signal/index.ts";

/** Takes the JSON object of `--payload`. What it may hold, the rules of signals tell. */
export function parsePayload(text: string): object {
  let value: unknown;
  try {
    value = parseJsonText(text);
  } catch {
    value = undefined;
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw new InvalidArgumentError(`It must be a JSON object such as '{"timeframe":"H1"}'.`);
}
