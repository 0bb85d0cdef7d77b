import type { SignatureHeaders } from "../../signing/index.ts";

/** The forms in which headers can be printed. */
export const HEADER_FORMATS = ["curl", "headers", "curl-config", "json"] as const;

/** One of {@link HEADER_FORMATS}. */
export type HeaderFormat = (typeof HEADER_FORMATS)[number];

/**
 * The headers of a signed request as text, with a newline at its end. No value needs
 * escaping in any of the forms: what can be signed has no quote, backslash or blank.
 */
export function formatHeaders(headers: SignatureHeaders, format: HeaderFormat): string {
  if (format === "json") return `${JSON.stringify(headers)}\n`;
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  switch (format) {
    case "curl":
      return `${lines.map((line) => `-H '${line}'`).join(" ")}\n`;
    case "curl-config":
      return lines.map((line) => `header = "${line}"\n`).join("");
    case "headers":
      return lines.map((line) => `${line}\n`).join("");
  }
}
