import { describe, expect, it } from "vitest";
import { VERSION } from "../../src/server/version.ts";
import { run, runProcess, runShell } from "./support/run.ts";

const COMMANDS: readonly (readonly string[])[] = [
  ["serve"],
  ["migrate"],
  ["migrate", "up"],
  ["migrate", "down"],
  ["migrate", "status"],
  ["master-key"],
  ["master-key", "rotate"],
  ["send"],
  ["sign"],
  ["verify"],
  ["alert"],
  ["alert", "test"],
  ["outbox"],
  ["outbox", "status"],
  ["outbox", "list"],
  ["outbox", "retry"],
  ["outbox", "drop"],
  ["outbox", "export"],
  ["producers"],
  ["producers", "create"],
  ["producers", "list"],
  ["producers", "show"],
  ["producers", "update"],
  ["producers", "rotate"],
  ["producers", "revoke"],
  ["producers", "disable"],
  ["producers", "enable"],
  ["tokens"],
  ["tokens", "create"],
  ["tokens", "list"],
  ["tokens", "revoke"],
  ["tokens", "bootstrap"],
  ["audit"],
  ["audit", "list"],
];

describe("help", () => {
  it.each(COMMANDS)("of %s %s tells examples and exit codes", async (...command) => {
    const { code, stdout, stderr } = await run([...command, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: countersign ${command.join(" ")}`);
    expect(stdout).toContain(`Examples:\n  `);
    expect(stdout).toContain(`countersign ${command.join(" ")}`);
    expect(stdout).toContain("Exit codes:\n  0  ");
    expect(stdout).toContain("\n  2  ");
    expect(stderr).toBe("");
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  it("lists all commands", async () => {
    const { code, stdout } = await run(["--help"]);
    expect(code).toBe(0);
    const names = [
      "serve",
      "migrate",
      "master-key",
      "send",
      "sign",
      "verify",
      "alert",
      "outbox",
      "producers",
      "tokens",
      "audit",
    ];
    for (const name of [...names, "help", "version"]) {
      expect(stdout).toMatch(new RegExp(`^ {2}${name} `, "m"));
    }
    expect(await run(["help"])).toEqual({ code: 0, stdout, stderr: "" });
  });

  it("is shown by the command help, too, which runs no other", async () => {
    for (const names of [["send"], ["outbox", "list"]]) {
      const shown = await run([...names, "--help"]);
      expect(await run(["help", ...names])).toEqual(shown);
      expect(await run(["help", ...names, "--", "-"])).toEqual(shown);
    }
    expect(await run(["help", "outbox", "lst"])).toEqual({
      code: 2,
      stdout: "",
      stderr: "countersign: unknown command 'lst' (Did you mean list?)\n",
    });
  });

  it("is shown to whoever names no command, as an error", async () => {
    const { code, stdout, stderr } = await run([]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("Usage: countersign");
  });

  it("gives the version", async () => {
    for (const way of ["--version", "-v", "version"]) {
      expect(await runProcess([way])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: "" });
    }
  });
});

describe("a wrong command line", () => {
  it.each([
    [["sned"], "unknown command 'sned' (Did you mean send?)"],
    [["verison"], "unknown command 'verison' (Did you mean version?)"],
    [["outbox", "statsu"], "unknown command 'statsu' (Did you mean status?)"],
    [["migrate", "staus"], "unknown command 'staus' (Did you mean status?)"],
    [["alert", "tset"], "unknown command 'tset' (Did you mean test?)"],
    [["outbox", "list", "--fiel", "x"], "unknown option '--fiel' (Did you mean --file?)"],
    [["send", "--instrumnt", "GOLD"], "unknown option '--instrumnt' (Did you mean --instrument?)"],
    [["sign"], "required option '--body <path>' not specified"],
    [["sign", "--bdy", "x"], "unknown option '--bdy' (Did you mean --body?)"],
    [["outbox", "list"], "required option '--file <path>' not specified"],
    [["send", "--entry-price", "0x1f"], "It must be a number such as 1950.5."],
    [["send", "--retries", "-1"], "It must be a whole number from 0 to 100."],
    [["send", "--payload", "[1]"], "It must be a JSON object"],
    [["send", "--protocol", "rest"], "Allowed choices are connect, grpc, grpc-web."],
    [["migrate", "down", "--steps", "1", "--to", "x"], "cannot be used with option"],
    [["serve", "surplus"], "too many arguments"],
    [["producers", "lsit"], "unknown command 'lsit' (Did you mean list?)"],
    [["producers", "create"], "missing required argument 'id'"],
    [["producers", "update", "a"], "Give what is to change: --display-name"],
    [["producers", "update", "a", "--require-approval", "yes"], "It must be true or false."],
    [["producers", "create", "a", "--rate-limit", "0"], "a whole number from 1 to 1000000."],
    [["producers", "create", "a", "--instruments", "GOLD,"], "names with commas between"],
    [["producers", "rotate", "a", "--grace", "1w"], "a time such as 90s, 30m, 24h or 7d."],
    [["tokens", "create", "--scope", "read"], "required option '--name <name>' not specified"],
    [["tokens", "create", "--name", "a"], "required option '--scope <list>' not specified"],
    [["tokens", "create", "--scope", "raed"], "are read, review, admin (did you mean read?)."],
    [["tokens", "create", "--expires", "soon"], "one such as 2027-01-01T00:00:00Z."],
    [["audit", "list", "--limit", "0"], "It must be a whole number from 1 to 100000."],
  ])("%j ends with 2 and one line that names it", async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^countersign: [^\n]+\n$/);
    expect(stderr).toContain(message);
  });
});

it.each([
  ["outbox", "frob"],
  ["outbox", "dorp"],
  ["migrate", "dow"],
  ["producers", "rovoke"],
  ["producers", "disble"],
  ["producers", "rotat"],
  ["tokens", "revok"],
])("suggests no command that deletes for %s %s", async (group, name) => {
  expect(await run([group, name])).toEqual({
    code: 2,
    stdout: "",
    stderr: `countersign: unknown command '${name}'\n`,
  });
});

it.each([["send"], ["outbox", "export"]])(
  "says of %s %s that a key names a signal of one producer",
  async (...command) => {
    const { stdout } = await run([...command, "--help"]);
    const words = stdout.replaceAll(/\s+/g, " ");
    expect(words).toContain("a key names a signal of one producer");
    expect(words).toContain("sent as another, ");
    expect(words).toContain("is stored a second time");
    expect(words).toContain("--env-file");
  },
);

it("ends quietly when the reader of its output is gone", async () => {
  const { code, stderr } = await runShell(
    "countersign --help | true; countersign send --help | true",
  );
  expect([code, stderr]).toEqual([0, ""]);
});
