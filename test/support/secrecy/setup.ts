/** Fails each test during which a secret showed. */
import { afterAll, afterEach, inject } from "vitest";
import { passwordOf, planted } from "./canaries.ts";
import { takeFindings, watchAll } from "./watch.ts";

watchAll();
const password = passwordOf(inject("postgresUrl"));
if (password) planted("database password", password);

function expectNoFindings(): void {
  const found = takeFindings();
  if (found.length > 0) throw new Error(`Secrets showed:\n${found.join("\n")}`);
}

afterEach(expectNoFindings);
afterAll(expectNoFindings);
