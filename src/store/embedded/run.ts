/**
 * Runs one of PostgreSQL's own programs to its end.
 */
import { spawn } from "node:child_process";
import path from "node:path";
import type { Account } from "./account.ts";

/** The embedded PostgreSQL cannot be made, started or stopped. The message says why. */
export class EmbeddedPostgresError extends Error {
  override readonly name = "EmbeddedPostgresError";
}

/**
 * What PostgreSQL's programs see of the environment: nothing of ours, so that no PGDATA or
 * locale of the user changes what they do.
 */
export const PROGRAM_ENVIRONMENT = { LC_ALL: "C", TZ: "UTC" } as const;

/** @throws EmbeddedPostgresError with the end of what the program said, if it failed. */
export async function runProgram(
  program: string,
  args: readonly string[],
  account: Account | undefined,
  timeoutMs: number,
): Promise<void> {
  const { code, output } = await new Promise<{ code: number | string; output: string }>(
    (resolve, reject) => {
      const child = spawn(program, args, {
        ...account,
        env: PROGRAM_ENVIRONMENT,
        // The current directory may be closed to that account.
        cwd: path.parse(program).root,
        stdio: ["ignore", "pipe", "pipe"],
        timeout: timeoutMs,
        killSignal: "SIGKILL",
      });
      let said = "";
      child.stdout.on("data", (chunk) => {
        said += chunk;
      });
      child.stderr.on("data", (chunk) => {
        said += chunk;
      });
      child.once("error", reject);
      child.once("close", (exitCode, signal) =>
        resolve({ code: exitCode ?? signal ?? "unknown", output: said }),
      );
    },
  ).catch((error: unknown) => {
    throw new EmbeddedPostgresError(`${program} cannot be started`, { cause: error });
  });
  if (code !== 0) {
    throw new EmbeddedPostgresError(
      `${path.basename(program)} failed (${code}): ${output.trim().slice(-2_000)}`,
    );
  }
}
