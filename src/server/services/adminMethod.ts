/**
 * What all methods that administer have in common: their scope, the deadline of their calls to
 * the database, and that refused attempts are audited.
 */
import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  type AccessStore,
  type Actor,
  type AuditAction,
  isTokenId,
  type RefusedAttempt,
} from "../../access/index.ts";
import { StoreUnavailableError } from "../../ingest/index.ts";
import {
  ok,
  type Refusal,
  type Result,
  recordOf,
  refuseCall,
  refused,
} from "../../signal/index.ts";
import { isProducerId } from "../../signing/index.ts";
import type { TokenCall, TokenMethod } from "../rpc/tokenRpc.ts";

/** What methods that administer are made of. */
export interface AdminDependencies {
  readonly store: AccessStore;
  readonly monotonicMs: () => number;
  /** Has this process see what it changed. Never rejects. */
  readonly onChanged: () => Promise<void>;
  /** Told of each attempt that was refused for what was asked. */
  readonly onRefusedAttempt: (attempt: RefusedAttempt) => void;
}

/** What a handler of a method that administers has. */
export interface AdminCall extends Pick<TokenCall, "token"> {
  readonly actor: Actor;
  /** How long to wait for the database, from now on. */
  readonly timeoutMs: () => number;
}

/** One method that administers. */
export interface AdminMethod<Input extends DescMessage, Output extends DescMessage> {
  /** What the audit calls an attempt that is refused. */
  readonly action: AuditAction;
  /** What a caller is told to do after no answer of the database, in sentences. */
  readonly withoutAnswer: string;
  /** The message of its answer. */
  readonly output: Output;
  /** @throws StoreUnavailableError */
  handle(message: MessageShape<Input>, call: AdminCall): Promise<Result<MessageInitShape<Output>>>;
}

/** The longest that one call to the database may take. */
const STORE_TIMEOUT_MS = 5_000;

/** Makes the method as it is served. */
export function adminMethod<Input extends DescMessage, Output extends DescMessage>(
  { monotonicMs, onRefusedAttempt }: AdminDependencies,
  { action, withoutAnswer, output, handle }: AdminMethod<Input, Output>,
): TokenMethod<Input, Output> {
  return {
    scope: "admin",
    async handle(message, { token, deadlineMs }) {
      const leftMs = () => deadlineMs - monotonicMs();
      try {
        const answer = await handle(message, {
          token,
          actor: { tokenId: token.tokenId, name: token.name },
          timeoutMs: () => Math.max(1, Math.min(STORE_TIMEOUT_MS, leftMs())),
        });
        return answer.ok ? ok(create(output, answer.value)) : answer;
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        return refused(noAnswer(leftMs() <= 0, withoutAnswer));
      }
    },
    onRefused({ reason }, { tokenId, name }, message) {
      // What passes by itself is told by the log, and a store that is away takes no entry.
      if (recordOf(reason).retry !== "never") return;
      onRefusedAttempt({ actor: { tokenId, name }, action, reason, ...subjectOf(message) });
    },
  };
}

/** What to do after no answer to a call that changes nothing. */
export const CALL_AGAIN = "Call again.";
/** And to one that can be repeated. */
export const REPEAT = "It is not known whether the change was made. Make the call again.";

function noAnswer(isTooLate: boolean, withoutAnswer: string): Refusal {
  return isTooLate
    ? refuseCall("DEADLINE_EXCEEDED", `The database did not answer in time. ${withoutAnswer}`)
    : refuseCall("STORE_UNAVAILABLE", `The database does not answer. ${withoutAnswer}`);
}

/** Whom or what a message is about, as far as it names one in its form. */
function subjectOf(message: unknown): Pick<RefusedAttempt, "producerId" | "tokenId"> {
  const { producerId, producer, tokenId } = (message ?? {}) as {
    readonly producerId?: string;
    readonly producer?: { readonly producerId: string };
    readonly tokenId?: string;
  };
  const named = producerId ?? producer?.producerId ?? "";
  return {
    producerId: isProducerId(named) ? named : undefined,
    tokenId: tokenId !== undefined && isTokenId(tokenId) ? tokenId : undefined,
  };
}
