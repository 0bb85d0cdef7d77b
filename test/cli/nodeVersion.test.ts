import { expect, it } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { NODE_VERSION_MIN, nodeFault } from "../../src/cli/nodeVersion.ts";
import { runProcess } from "./support/run.ts";

it("asks for the Node.js that package.json asks for", () => {
  expect(packageJson.engines.node).toBe(`>=${NODE_VERSION_MIN}`);
});

it.each(["v24.16.0", "v24.16.1", "v24.100.0", "v25.0.0", "v25.0.0-nightly20251025", "v100.2.1"])(
  "runs on %s",
  (version) => expect(nodeFault(version)).toBeUndefined(),
);

it.each(["v24.15.9", "v24.9.20", "v23.99.99", "v20.20.2", "v8.17.0"])(
  "says on %s which Node.js it needs",
  (version) =>
    expect(nodeFault(version)).toBe(
      `This needs Node.js ${NODE_VERSION_MIN} or newer, and runs on ${version.slice(1)}.`,
    ),
);

/** Has a process take itself for another version, and fail if it loads more than the judgement. */
function pretending(version: string): NodeJS.ProcessEnv {
  const script = `
    Object.defineProperty(process, "version", { value: "${version}" });
    const { registerHooks } = await import("node:module");
    registerHooks({
      load(url, context, next) {
        if (url.includes("commander")) throw new Error("loaded " + url);
        return next(url, context);
      },
    });`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` };
}

it("says so before it looks at the command line or loads what an old one may not know", async () => {
  const env = pretending("v20.20.2");
  for (const args of [[], ["--help"], ["frob"], ["outbox", "status", "--file", "x"]]) {
    expect(await runProcess(args, { env })).toEqual({
      code: 2,
      stdout: "",
      stderr: `countersign: ${nodeFault("v20.20.2")}\n`,
    });
  }
});
