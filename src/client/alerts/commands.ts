/**
 * Commands for a person to copy out of an alert. Pure.
 */

/** What a shell takes as it is; a tilde or an equals sign in front would mean something. */
const PLAIN_WORD = /^[A-Za-z0-9_./:@%+,-][A-Za-z0-9_./:@%+,=~-]*$/;

/**
 * A command line of `countersign outbox` for one outbox file.
 *
 * @param verb the subcommand with its options, such as `list --dead`.
 * @param key the idempotency key of the signal that it is about.
 */
export function outboxCommand(verb: string, path: string, key?: string): string {
  const command = `countersign outbox ${verb} --file ${shellWord(path)}`;
  if (key === undefined) return command;
  // Else a key that begins with a dash would be read as an option.
  return `${command} ${key.startsWith("-") ? "-- " : ""}${shellWord(key)}`;
}

/** Quoted if need be, since a key may hold anything that a shell would run. */
function shellWord(text: string): string {
  return PLAIN_WORD.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
