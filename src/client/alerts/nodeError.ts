import { causesOf } from "../causes.ts";

/**
 * The code that Node.js gave a failure of a socket, a name lookup or TLS, such as
 * `ECONNRESET`, looked for among the causes too; undefined if there is none. The code alone
 * is safe to show: messages hold URLs. Pure.
 */
export function errorCode(thrown: unknown): string | undefined {
  for (const error of causesOf(thrown)) {
    if ("code" in error && typeof error.code === "string" && CODE.test(error.code)) {
      return error.code;
    }
  }
  return undefined;
}

const CODE = /^[A-Z][A-Z0-9_]{1,60}$/;
