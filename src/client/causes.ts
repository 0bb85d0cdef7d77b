/**
 * A thrown value and its causes, from the outside in, each once: a chain of causes may lead
 * back to itself. It ends at the first that is no `Error`.
 */
export function causesOf(thrown: unknown): readonly Error[] {
  const causes = new Set<Error>();
  let error = thrown;
  while (error instanceof Error && !causes.has(error)) {
    causes.add(error);
    error = error.cause;
  }
  return [...causes];
}
