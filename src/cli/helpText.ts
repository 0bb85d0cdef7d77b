/**
 * Brings the texts of help to the width of a terminal. Pure.
 */

/** What a terminal has at least. */
const HELP_WIDTH = 80;

/**
 * Paragraphs of prose are filled anew; of a list of two columns the second is broken below
 * itself; all other lines that are indented are commands, and stay as they are.
 */
export function fitHelp(text: string, width = HELP_WIDTH): string {
  return text
    .split("\n\n")
    .map((paragraph) => fitParagraph(paragraph, width))
    .join("\n\n");
}

function fitParagraph(paragraph: string, width: number): string {
  const lines = paragraph.split("\n");
  const isProse = lines.every((line) => !line.startsWith(" "));
  if (isProse) return wrap(lines.join(" "), width).join("\n");
  return lines.flatMap((line) => fitLine(line, width)).join("\n");
}

/** The name of a list's line with what stands before and after it, and its meaning. */
const LIST_LINE = /^( +\S+(?:, \S+)* {2,})(\S.*)$/;

function fitLine(line: string, width: number): string[] {
  const [, name = "", meaning = ""] = LIST_LINE.exec(line) ?? [];
  if (name === "" || line.length <= width) return [line];
  const [first, ...others] = wrap(meaning, width - name.length);
  return [`${name}${first}`, ...others.map((other) => " ".repeat(name.length) + other)];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
