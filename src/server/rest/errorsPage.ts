/**
 * A page that explains every reason, for people. Whoever reads a problem's `type` finds it.
 */
import { REASONS, recordOf } from "../../signal/index.ts";
import type { NodeResponse } from "../http/nodeHttp.ts";
import { sendText } from "../http/problem.ts";

const ERRORS_PAGE = `<!doctype html>
<html lang="en">
<title>Countersign: errors</title>
<h1>Errors</h1>
${REASONS.map((reason) => {
  const { meaning, mayBeStored, advice } = recordOf(reason);
  const fate = mayBeStored ? " The signal may be stored." : "";
  return `<h2 id="${reason.toLowerCase()}">${reason}</h2>\n<p>${html(meaning + fate)}</p>\n<p>${html(advice)}</p>`;
}).join("\n")}
</html>
`;

/** In a text of ours, what is code stands in backquotes. */
function html(text: string): string {
  return text.replaceAll(/`([^`]+)`/g, "<code>$1</code>");
}

/** Sends the page and ends the response. */
export function sendErrorsPage(response: NodeResponse): void {
  // Its text is all ours, so there is nothing to escape, but it never runs anything either.
  sendText(response, 200, "text/html; charset=utf-8", ERRORS_PAGE, {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
  });
}
