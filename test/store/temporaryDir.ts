import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

export interface TemporaryDir extends AsyncDisposable {
  readonly path: string;
}

/**
 * A new directory that is removed at the end of its `await using`.
 *
 * @param mode by default other accounts may pass through it, as PostgreSQL's must when the
 *   tests run as root.
 */
export async function makeTemporaryDir(name: string, mode = 0o711): Promise<TemporaryDir> {
  const dir = await mkdtemp(path.join(tmpdir(), `${name}-`));
  await chmod(dir, mode);
  return {
    path: dir,
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
