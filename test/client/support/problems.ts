import { ConfigError } from "../../../src/client/index.ts";

/** The names of the options or variables that something is not made of. Of none, if it is. */
export function problemsOf(make: () => unknown): string[] {
  try {
    make();
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ name }) => name);
    throw error;
  }
}
