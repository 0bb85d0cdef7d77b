import type { Readable } from "node:stream";

/**
 * Hands on what another process writes, line by line, for as long as it does. The lines of
 * several processes are then never mixed, whatever one of them had written when it died.
 *
 * @param onLine told each line, with its end.
 */
export function relayLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(`${line}\n`);
  });
  stream.once("end", () => {
    if (rest !== "") onLine(`${rest}\n`);
  });
  // A process that dies may break the pipe; its end is known from elsewhere.
  stream.on("error", () => undefined);
}
