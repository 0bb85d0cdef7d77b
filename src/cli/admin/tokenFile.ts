/**
 * What a file or an environment holds for somebody with a token.
 */

/** Where the token is good for; `undefined` if it is not known. */
export interface TokenPlace {
  readonly url: string | undefined;
  readonly opsUrl: string | undefined;
}

/** The variables, in lines; a place that is not known as a comment. */
export function tokenVariables(token: string, { url, opsUrl }: TokenPlace): string {
  const lines = [
    `COUNTERSIGN_TOKEN=${token}`,
    url === undefined ? "# COUNTERSIGN_URL=" : `COUNTERSIGN_URL=${url}`,
    opsUrl === undefined ? "# COUNTERSIGN_OPS_URL=" : `COUNTERSIGN_OPS_URL=${opsUrl}`,
  ];
  return lines.map((line) => `${line}\n`).join("");
}
