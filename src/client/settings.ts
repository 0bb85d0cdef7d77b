/**
 * The rules of those settings that options and environment have in common, and how the
 * findings of zod become problems with a name.
 */
import { z } from "zod";
import { parseServerUrl } from "../alerts/index.ts";
import { didYouMean, LOWEST_PAYLOAD_MAX_BYTES, SIGNAL_REQUEST_MAX_BYTES } from "../signal/index.ts";
import {
  credentialFault,
  isProducerId,
  PRODUCER_ID_RULE,
  SECRET_MIN_BYTES,
  Secret,
} from "../signing/index.ts";

export const TIMEOUT_MS_DEFAULT = 30_000;
/** A trading signal that waited longer is of no use, and proxies give up long before. */
export const TIMEOUT_MS_MAX = 300_000;

/** One phrase for an absent value, another for one that is not text. */
function textPhrase(issue: { readonly input?: unknown }): string {
  return issue.input === undefined ? REQUIRED : "must be text";
}

const REQUIRED = "is required";

/** A whole number in a range, both ends included. */
export function wholeNumber(min: number, max: number) {
  const rule = `must be a whole number from ${min} to ${max}`;
  return z.int(orText(rule)).gte(min, rule).lte(max, rule);
}

/** The greatest request with one signal, in bytes: no server takes more, and no signal needs less. */
export const maxBodyBytes = wholeNumber(1_024, SIGNAL_REQUEST_MAX_BYTES);

/** The greatest payload, in bytes of compact UTF-8 JSON. */
export const payloadMaxBytes = wholeNumber(LOWEST_PAYLOAD_MAX_BYTES, SIGNAL_REQUEST_MAX_BYTES);

/** The URL of a server, as `parseServerUrl` judges and normalises it. */
export const serverUrl = z.string({ error: textPhrase }).transform((text, context) => {
  const verdict = parseServerUrl(text);
  if (verdict.valid) return verdict.baseUrl;
  context.issues.push({ code: "custom", message: verdict.rule, input: undefined });
  return z.NEVER;
});

/** The id of a producer. */
export const producerId = z.string({ error: textPhrase }).refine(isProducerId, PRODUCER_ID_RULE);

/** A secret, ready to sign with. No problem that is found with it repeats any of it. */
export const secret = z.unknown().transform((value, context) => {
  if (value instanceof Secret) return value;
  try {
    if (typeof value === "string") return Secret.fromString(value);
  } catch {
    // What is told below is all that the secret's own error would tell.
  }
  const rule =
    (typeof value === "string" ? credentialFault(value, "sec") : undefined) ??
    `must be text of at least ${SECRET_MIN_BYTES} bytes in well-formed UTF-8`;
  const message = value === undefined ? REQUIRED : rule;
  context.issues.push({ code: "custom", message, input: undefined });
  return z.NEVER;
});

/** A number in a range, both ends included. */
export function numberFrom(min: number, max: number) {
  const rule = `must be a number from ${min} to ${max}`;
  return z.number(orText(rule)).gte(min, rule).lte(max, rule);
}

/** A number in quotes looks right to who reads it, so it is told what is wrong. */
function orText(rule: string): { error: (issue: { readonly input?: unknown }) => string } {
  return { error: ({ input }) => (typeof input === "string" ? `${rule}, and not text` : rule) };
}

/** True or false. */
export function flag() {
  return z.boolean("must be true or false");
}

/** Somebody else's object, judged by the methods that are called. */
export function objectWith<T extends object>(...methods: readonly (keyof T & string)[]) {
  const hasMethods = (value: unknown) =>
    typeof value === "object" &&
    value !== null &&
    methods.every((method) => typeof (value as Record<string, unknown>)[method] === "function");
  const named = methods.map((method) => `${method}()`).join(", ");
  const withMethods =
    methods.length === 1 ? ` with a method ${named}` : ` with the methods ${named}`;
  return z.custom<T>(hasMethods, `must be an object${methods.length === 0 ? "" : withMethods}`);
}

/** A group of options, each with a default, that `false` switches off as a whole. */
export function switchable<Group extends z.ZodObject>(group: Group) {
  const judge = (value: unknown, context: z.RefinementCtx): z.output<Group> | false => {
    if (value === false) return false;
    const judged = group.safeParse(value);
    if (judged.success) return judged.data;
    for (const { name, rule } of problemsOf(judged.error, group)) {
      const path = name === "" ? [] : [name];
      const message = name === "" ? "must be false or an object of options" : rule;
      context.issues.push({ code: "custom", message, path, input: undefined });
    }
    return z.NEVER;
  };
  return z.unknown().default({}).transform(judge);
}

/**
 * One problem for each setting: the first rule broken is the one to correct first. An option
 * of a group has the name of the group and a dot before its own.
 *
 * @param schema names the options that there are.
 */
export function problemsOf(error: z.ZodError, { shape }: z.ZodObject): ConfigProblem[] {
  const problems = new Map<string, string>();
  for (const issue of error.issues) {
    const isUnknown = issue.code === "unrecognized_keys";
    const paths = isUnknown ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    for (const path of paths) {
      const name = path.join(".");
      const rule = isUnknown ? notAnOption(name, Object.keys(shape)) : issue.message;
      if (!problems.has(name)) problems.set(name, rule);
    }
  }
  return [...problems].map(([name, rule]) => ({ name, rule }));
}

function notAnOption(name: string, known: readonly string[]): string {
  return `is not an option${didYouMean(name, known)}`;
}

/**
 * The options of one call, if all of them are options of such calls: one that is misspelt must
 * not be silently left out.
 *
 * @param known the names that there are.
 * @throws ConfigError naming every other one.
 */
export function callOptions<Options extends object>(
  options: Options,
  known: Readonly<Record<keyof Options, true>>,
): Options {
  if (typeof options !== "object" || options === null) {
    throw new ConfigError([{ name: "options", rule: "must be an object" }], "The call's");
  }
  const names = Object.keys(known);
  const problems = Object.keys(options)
    .filter((name) => !Object.hasOwn(known, name))
    .map((name) => ({ name, rule: notAnOption(name, names) }));
  if (problems.length > 0) throw new ConfigError(problems, "The call's");
  return options;
}

/** What is no object has no options, so that all that are missing are named. */
export function optionsObject<Options extends object>(options: Options): Partial<Options> {
  return typeof options === "object" && options !== null ? options : {};
}

/**
 * Options that are complete and hold every rule.
 *
 * @param owner whose they are, in the genitive.
 * @throws ConfigError naming every wrong one.
 */
export function checkedOptions<Schema extends z.ZodObject>(
  schema: Schema,
  options: unknown,
  owner?: string,
): z.output<Schema> {
  const judged = schema.safeParse(options);
  if (!judged.success) throw new ConfigError(problemsOf(judged.error, schema), owner);
  return judged.data;
}

/** One wrong or missing setting. */
export interface ConfigProblem {
  /** The option or the environment variable. */
  readonly name: string;
  /** What is wrong, as an English phrase. Never repeats the value: it may be a secret. */
  readonly rule: string;
}

/** A client, an outbox or alerts cannot start: the options or the environment are wrong. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** Every problem, so that all can be corrected at once. */
  readonly problems: readonly ConfigProblem[];

  /** @param owner whose configuration it is, in the genitive. */
  constructor(problems: readonly ConfigProblem[], owner = "The client's") {
    const listed = problems.map(({ name, rule }) => `${name} ${rule}`).join("; ");
    super(`${owner} configuration is wrong: ${listed}.`);
    this.problems = problems;
  }
}
