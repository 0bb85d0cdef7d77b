/**
 * Hands over what the server gives once and never again.
 */
import { EXIT_FAILED } from "../cliError.ts";
import { isOutputLost, note, writeJson, writeOut } from "../output.ts";
import type { SecretFile } from "./secretFile.ts";

/** Something new that only its owner may have. */
export interface NewCredential {
  /** `secret` or `token`, for messages and as the name of the field in JSON. */
  readonly name: "secret" | "token";
  readonly value: string;
  /** The variables for an environment, in lines. */
  readonly variables: string;
  /** What to do if nobody has it after all. */
  readonly ifLost: string;
}

/** Where it goes. */
export interface Destination {
  readonly file: SecretFile | undefined;
  /** What the file is to hold. */
  readonly fileText: string;
  readonly json: boolean | undefined;
  /** What is told of it besides, for programs. */
  readonly others: Readonly<Record<string, unknown>>;
}

/**
 * Writes it to its file, or to standard output if there is none, or if the file cannot be written
 * after all.
 *
 * @returns whether a file has it.
 */
export async function handOver(
  { name, value, variables, ifLost }: NewCredential,
  { file, fileText, json, others }: Destination,
): Promise<boolean> {
  const isWritten = file !== undefined && isWrittenTo(file, fileText);
  if (isWritten) {
    if (json === true) await writeJson({ env_file: file.path, ...others });
    return true;
  }
  if (json === true) await writeJson({ [name]: value, ...others });
  else await writeOut(variables);
  if (isOutputLost()) note(`So nobody has the new ${name}. ${ifLost}`);
  return false;
}

function isWrittenTo(file: SecretFile, text: string): boolean {
  try {
    file.write(text);
    return true;
  } catch (error) {
    process.exitCode = EXIT_FAILED;
    note(
      `${file.path} could not be written: ${(error as Error).message}. What it should hold is on ` +
        "standard output instead, this once.",
    );
    return false;
  }
}
