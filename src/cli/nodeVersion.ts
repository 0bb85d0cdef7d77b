/**
 * Which Node.js the program needs. Pure, and of nothing that an old one does not know.
 */

/** The oldest Node.js that will do; a test holds it against package.json. */
export const NODE_VERSION_MIN = "24.16.0";

/**
 * @param version such as `v24.16.0`.
 * @returns what is wrong with it, as a sentence; `undefined` if it will do.
 */
export function nodeFault(version: string): string | undefined {
  if (isAtLeast(numbersOf(version), numbersOf(NODE_VERSION_MIN))) return undefined;
  return `This needs Node.js ${NODE_VERSION_MIN} or newer, and runs on ${version.replace(/^v/, "")}.`;
}

/** Major, minor and patch; what follows them, as in `v25.0.0-nightly`, does not count. */
function numbersOf(version: string): number[] {
  return version.replace(/^v/, "").split(/[.-]/).slice(0, 3).map(Number);
}

function isAtLeast(version: readonly number[], wanted: readonly number[]): boolean {
  const place = version.findIndex((number, index) => number !== wanted[index]);
  return place < 0 || (version[place] as number) > (wanted[place] as number);
}
