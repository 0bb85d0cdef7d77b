/**
 * Files for secrets: new ones overwrite nothing, those that are there keep everything else, and
 * no secret is made for a file that cannot be written.
 */
import { chmod, mkdir, readdir, readFile, rm, stat, symlink } from "node:fs/promises";
import path from "node:path";
import { parseEnv } from "node:util";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { handOver } from "../../../src/cli/admin/handOver.ts";
import { takeNewFile, takeProducerFile } from "../../../src/cli/admin/secretFile.ts";
import { Workspace } from "../support/run.ts";

const SECRET = "cs_sec_new$&";

function workspace(): Workspace {
  const made = new Workspace();
  onTestFinished(() => made[Symbol.asyncDispose]());
  return made;
}

describe("a new file", () => {
  it("is whole, for its owner only, and alone", async () => {
    const { path: directory } = workspace();
    const file = takeNewFile(path.join(directory, "bot.env"));
    file.write("A=1\n");
    expect(await readdir(directory)).toEqual(["bot.env"]);
    expect(await readFile(file.path, "utf8")).toBe("A=1\n");
    expect((await stat(file.path)).mode & 0o777).toBe(0o600);
  });

  it("leaves nothing behind if nothing came of it", async () => {
    const { path: directory } = workspace();
    takeNewFile(path.join(directory, "bot.env")).discard();
    expect(await readdir(directory)).toEqual([]);
  });

  it("never takes the place of one that is there", async () => {
    const there = workspace();
    const file = await there.write("bot.env", "A=1\n");
    await symlink("nowhere", path.join(there.path, "link.env"));
    for (const name of [file, path.join(there.path, "link.env")]) {
      expect(() => takeNewFile(name)).toThrow(
        `--env-file ${name} is there already. Give another name, or take it away first.`,
      );
    }
    expect(await readFile(file, "utf8")).toBe("A=1\n");
    expect(await readdir(there.path)).toEqual(["bot.env", "link.env"]);
  });

  it.each(["nowhere/bot.env", "file/bot.env"])("is refused for %s", async (name) => {
    const there = workspace();
    await there.write("file", "");
    expect(() => takeNewFile(path.join(there.path, name))).toThrow(
      "cannot be written: there is no such directory.",
    );
  });
});

describe("the file of a producer", () => {
  it.each([
    ["PRODUCER_ID=bot\nHMAC_PRODUCER_SECRET=old\n", "PRODUCER_ID=bot\nHMAC_PRODUCER_SECRET=$\n"],
    [
      "# Mine\r\nexport PRODUCER_ID='bot'\r\nexport HMAC_PRODUCER_SECRET=\"old\" # 2025\r\nX=1",
      "# Mine\r\nexport PRODUCER_ID='bot'\r\nexport HMAC_PRODUCER_SECRET=$\r\nX=1",
    ],
    [
      "HMAC_PRODUCER_SECRET=1\n PRODUCER_ID=bot\nHMAC_PRODUCER_SECRET = 2\n",
      "HMAC_PRODUCER_SECRET=$\n PRODUCER_ID=bot\nHMAC_PRODUCER_SECRET =$\n",
    ],
    ["PRODUCER_ID=bot", "PRODUCER_ID=bot\nHMAC_PRODUCER_SECRET=$\n"],
  ])("keeps everything but the secret: %j", async (before, after) => {
    const there = workspace();
    const name = await there.write("bot.env", before);
    const known = takeProducerFile(name, "bot");
    known?.file.write(known.withSecret(SECRET));
    const text = await readFile(name, "utf8");
    expect(text).toBe(after.replaceAll("$", () => SECRET));
    expect(parseEnv(text)).toMatchObject({ PRODUCER_ID: "bot", HMAC_PRODUCER_SECRET: SECRET });
    expect(await readdir(there.path)).toEqual(["bot.env"]);
  });

  it("keeps its rights, and a link to it", async () => {
    const there = workspace();
    const name = await there.write("bot.env", "PRODUCER_ID=bot\n");
    await chmod(name, 0o640);
    const link = path.join(there.path, "link.env");
    await symlink("bot.env", link);
    const known = takeProducerFile(link, "bot");
    known?.file.write(known.withSecret(SECRET));
    expect(await readFile(name, "utf8")).toContain(SECRET);
    expect((await stat(name)).mode & 0o777).toBe(0o640);
    expect(await readdir(there.path)).toEqual(["bot.env", "link.env"]);
  });

  it.each([
    ["PRODUCER_ID=other\nHMAC_PRODUCER_SECRET=x\n", "its PRODUCER_ID is not that"],
    ["COUNTERSIGN_TOKEN=x\n", "its PRODUCER_ID is not that"],
    ['PRODUCER_ID=bot\nHMAC_PRODUCER_SECRET="a\nb"\n', "is not on one line"],
  ])("is left alone if it is another's, or hard to read: %j", async (before, message) => {
    const there = workspace();
    const name = await there.write("bot.env", before);
    expect(() => takeProducerFile(name, "bot")).toThrow(message);
    expect(await readFile(name, "utf8")).toBe(before);
    expect(await readdir(there.path)).toEqual(["bot.env"]);
  });

  it("stays as it was if nothing came of it", async () => {
    const there = workspace();
    const name = await there.write("bot.env", "PRODUCER_ID=bot\n");
    takeProducerFile(name, "bot")?.file.discard();
    expect(await readFile(name, "utf8")).toBe("PRODUCER_ID=bot\n");
    expect(await readdir(there.path)).toEqual(["bot.env"]);
  });

  it("is made if there is none", () => {
    expect(takeProducerFile(path.join(workspace().path, "bot.env"), "bot")).toBeUndefined();
  });
});

it("a secret whose file cannot be written after all is printed, since nobody gives it again", async () => {
  const there = workspace();
  const directory = path.join(there.path, "unmounted");
  await mkdir(directory);
  const file = takeNewFile(path.join(directory, "bot.env"));
  await rm(directory, { recursive: true });
  const printed: string[] = [];
  const output = (text: unknown, done?: unknown) => {
    printed.push(String(text));
    if (typeof done === "function") done();
    return true;
  };
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, "write").mockImplementation(output);
  }
  onTestFinished(() => {
    vi.restoreAllMocks();
    process.exitCode = undefined;
  });
  const credential = {
    name: "secret",
    value: SECRET,
    variables: `X=${SECRET}\n`,
    ifLost: "",
  } as const;
  const destination = { file, fileText: "unused", json: undefined, others: {} };
  expect(await handOver(credential, destination)).toBe(false);
  expect(printed).toEqual([
    expect.stringMatching(/bot\.env could not be written: ENOENT.*on standard output instead/),
    `X=${SECRET}\n`,
  ]);
  expect(process.exitCode).toBe(1);
});
