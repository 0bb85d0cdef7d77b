/**
 * The code that Node.js gave a failure of a socket, a name lookup or TLS, such as
 * `ECONNRESET`, looked for among the causes too; undefined if there is none. The code alone
 * is safe to show: messages hold URLs. Pure.
 */
export function errorCode(thrown: unknown): string | undefined {
  const seen = new Set<unknown>();
  let error = thrown;
  while (error instanceof Error && !seen.has(error)) {
    if ("code" in error && typeof error.code === "string" && CODE.test(error.code)) {
      return error.code;
    }
    seen.add(error);
    error = error.cause;
  }
  return undefined;
}

const CODE = /^[A-Z][A-Z0-9_]{1,60}$/;
