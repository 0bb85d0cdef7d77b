/** What npm installs as it does for others, and the Node.js that others have. */
import { writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { test } from "vitest";
import { type Outcome, ROOT, run } from "../interop/support/command.ts";

/** The oldest of their lines on which the client runs, as its package.json has it. */
export const NODE_20 = "20.19.0";
export const NODE_22 = "22.12.0";

/** The folder of the Node.js that the tests run on. */
export const NODE_DIR = join(process.execPath, "..");

/** How long npm may take, since what it installs may have to be fetched. In milliseconds. */
export const NPM_TIMEOUT_MS = 240_000;

/** The environment of npm, where `node` is the one in this folder. */
export function npmEnv(nodeDir: string): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    // A registry may be reached by a proxy and certificates only, which are named there.
    if (value !== undefined && !/^npm_|^NODE_(?!EXTRA_CA)/.test(name)) env[name] = value;
  }
  return { ...env, PATH: [nodeDir, process.env.PATH].join(delimiter) };
}

/** Runs npm in a folder to its end. */
export function runNpm(nodeDir: string, cwd: string, args: readonly string[]): Promise<Outcome> {
  return run("npm", args, { cwd, env: npmEnv(nodeDir), timeoutMs: NPM_TIMEOUT_MS });
}

/** Whether the registry answers. If not, a test is seen to be skipped. */
export async function hasRegistry(): Promise<boolean> {
  const args = ["view", `node@${NODE_20}`, "version", "--fetch-timeout=20000", "--fetch-retries=0"];
  const { code, stderr } = await runNpm(NODE_DIR, ROOT, args);
  if (code === 0) return true;
  const message = "SKIPPED: npm's registry cannot be reached, so nothing was installed";
  test(message, (context) => {
    process.stderr.write(`${message}: ${stderr}\n`);
    context.skip(message);
  });
  return false;
}

/** Installs packages in a folder as a project of its own. @returns what npm told. */
export async function install(
  nodeDir: string,
  folder: string,
  packages: readonly string[],
): Promise<string> {
  const args = ["install", "--no-audit", "--no-fund", "--prefer-offline", ...packages];
  const { code, stdout, stderr } = await runNpm(nodeDir, folder, args);
  if (code !== 0) throw new Error(`npm install failed: ${stdout}${stderr}`);
  return stderr;
}

/** Makes a folder a project of modules. */
export async function startProject(folder: string): Promise<void> {
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
}

/** Installs a Node.js in a folder. @returns the folder that `node` is in. */
export async function installNode(folder: string, version: string): Promise<string> {
  await startProject(folder);
  await install(NODE_DIR, folder, [`node@${version}`]);
  return join(folder, "node_modules", ".bin");
}
