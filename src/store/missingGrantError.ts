/** The role may not do what it must. The message names what is missing and how to give it. */
export class MissingGrantError extends Error {
  override readonly name = "MissingGrantError";
}
