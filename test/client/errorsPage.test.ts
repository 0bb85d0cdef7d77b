/**
 * docs/errors.md is made from the records of the reasons. After a change of one, write it again:
 * `npm exec -- vitest run test/client/errorsPage.test.ts -u`.
 */
import { expect, test } from "vitest";
import {
  CLIENT_REASONS,
  failureRecordOf,
  type SignalErrorReason,
} from "../../src/client/errorReason.ts";
import { REASONS, recordOf } from "../../src/signal/index.ts";

const RETRY = {
  never: "no",
  same_key: "yes, same key",
  after_delay: "after the given delay",
  corrected_clock: "once, with the clock corrected",
};
const OUTBOX = {
  dead_letter: "dead letter",
  expired: "dead letter, told as expired",
  wait: "waits",
  hold: "held",
};

const PAGE = `# Errors

Every refusal has a reason. RPC errors carry it in \`google.rpc.ErrorInfo\` (domain \`signals.v1\`), REST
errors in the field \`reason\` of their problem details, whose \`type\` leads to its explanation:
\`/errors#rate_limited\` on the server itself, in the same words as below.

*Retry*: what a caller may do, and what the TypeScript client does by itself. *Outbox*: what happens
to a signal in the [outbox](producers.md#what-each-reason-does).

| reason | Connect code | HTTP | retry | outbox |
|---|---|---|---|---|
${REASONS.map((reason) => {
  const { code, httpStatus, restStatus } = recordOf(reason);
  const http = restStatus === undefined ? httpStatus : `${httpStatus}, REST ${restStatus}`;
  return `| ${link(reason)} | \`${code}\` | ${http} | ${actions(reason)} |`;
}).join("\n")}

${REASONS.map(section).join("\n\n")}

# Errors that only the client finds

The TypeScript client has reasons of its own for what the server does not send.

| reason | retry | outbox |
|---|---|---|
${CLIENT_REASONS.map((reason) => `| ${link(reason)} | ${actions(reason)} |`).join("\n")}

${CLIENT_REASONS.map(section).join("\n\n")}
`;

function link(reason: SignalErrorReason): string {
  return `[\`${reason}\`](#${reason.toLowerCase()})`;
}

function actions(reason: SignalErrorReason): string {
  const { retry, outbox } = failureRecordOf(reason);
  return `${RETRY[retry]} | ${OUTBOX[outbox]}`;
}

function section(reason: SignalErrorReason): string {
  const { meaning, advice, mayBeStored } = failureRecordOf(reason);
  const fate = mayBeStored ? " The signal may be stored." : "";
  return `## ${reason}\n\n${meaning}${fate}\n\n${advice}`;
}

test("docs/errors.md says what the records say", async () => {
  await expect(PAGE).toMatchFileSnapshot("../../docs/errors.md");
});

test.each([...REASONS, ...CLIENT_REASONS])("%s is explained in sentences", (reason) => {
  const { meaning, advice } = failureRecordOf(reason);
  for (const text of [meaning, advice]) expect(text).toMatch(/^[A-Z].*\.$/);
});
