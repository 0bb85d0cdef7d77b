/**
 * AuditService: between its messages and the domain.
 */
import { create } from "@bufbuild/protobuf";
import {
  AuditEntrySchema,
  type AuditService,
  type ListAuditEntriesRequest,
  ListAuditEntriesResponseSchema,
  type AuditEntry as ProtoAuditEntry,
} from "../../../gen/signals/v1/audit_service_pb.ts";
import {
  type AuditEntry,
  type AuditedState,
  isEntryId,
  isTokenId,
  producerIdViolations,
} from "../../access/index.ts";
import {
  instantToProto,
  type JsonObject,
  type MessageFields,
  ok,
  type Violation,
} from "../../signal/index.ts";
import type { TokenMethods } from "../rpc/tokenRpc.ts";
import { type AdminDependencies, adminMethod, CALL_AGAIN } from "./adminMethod.ts";
import { nextPageToken, readPage } from "./pages.ts";

type Methods = TokenMethods<typeof AuditService>;

/** All methods of the service. */
export function auditMethods(dependencies: AdminDependencies): Methods {
  return { listAuditEntries: listAuditEntriesMethod(dependencies) };
}

/** `ListAuditEntries`: all that the token may see, page by page. */
function listAuditEntriesMethod(dependencies: AdminDependencies): Methods["listAuditEntries"] {
  return adminMethod(dependencies, {
    action: "audit.read",
    output: ListAuditEntriesResponseSchema,
    withoutAnswer: CALL_AGAIN,
    async handle(request, { token, timeoutMs }) {
      const { producerId, tokenId, action } = request;
      const asked = readPage(request, isEntryId, filterViolations(request));
      if (!asked.ok) return asked;
      const filter = {
        within: token.producerIds,
        producerId: producerId || undefined,
        tokenId: tokenId || undefined,
        action: action || undefined,
      };
      const page = await dependencies.store.listAuditEntries(filter, asked.value, timeoutMs());
      return ok({
        entries: page.items.map(entryToProto),
        nextPageToken: nextPageToken(page),
      });
    },
  });
}

const ACTION = /^[a-z_]{1,40}(?:\.[a-z_]{1,40})?$/;

function filterViolations(filter: ListAuditEntriesRequest): Violation[] {
  const { producerId, tokenId, action } = filter;
  const violations = producerId === "" ? [] : producerIdViolations(producerId);
  if (tokenId !== "" && !isTokenId(tokenId)) {
    violations.push({ field: "token_id", description: "must be the id of a token" });
  }
  if (action !== "" && !ACTION.test(action)) {
    const description = "must be an action such as producer.update, or its first word";
    violations.push({ field: "action", description });
  }
  return violations;
}

function entryToProto(entry: AuditEntry): ProtoAuditEntry {
  return entryMessage({
    entryId: entry.entryId,
    time: instantToProto(entry.time),
    actorTokenId: entry.actor.tokenId ?? "",
    actorName: entry.actor.name,
    action: entry.action,
    producerId: entry.producerId ?? "",
    tokenId: entry.tokenId ?? "",
    reason: entry.reason ?? "",
    before: structOf(entry.before),
    after: structOf(entry.after),
  });
}

/** It came from JSON. */
function structOf(state: AuditedState | undefined): JsonObject | undefined {
  return state as JsonObject | undefined;
}

function entryMessage(fields: MessageFields<ProtoAuditEntry>): ProtoAuditEntry {
  return create(AuditEntrySchema, fields);
}
