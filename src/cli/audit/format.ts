/**
 * Entries of the audit as a story for people, and as JSON for programs. Pure.
 */
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type AuditEntry, AuditEntrySchema } from "../../../gen/signals/v1/audit_service_pb.ts";
import { momentText } from "../age.ts";

/** An entry as an object for JSON, in the names of the API. */
export function entryJson(entry: AuditEntry): Record<string, unknown> {
  const options = { useProtoFieldName: true, alwaysEmitImplicit: true } as const;
  const json = toJson(AuditEntrySchema, entry, options) as Record<string, unknown>;
  // Beyond 2^53 are more entries than anybody has.
  return { ...json, entry_id: Number(entry.entryId) };
}

/** An entry in lines: when, who, what and about whom, and below that what changed by it. */
export function entryLines(entry: AuditEntry): string[] {
  const time = entry.time === undefined ? "-" : momentText(timestampDate(entry.time));
  const id = entry.actorTokenId === "" ? "" : ` [${entry.actorTokenId}]`;
  const about = [entry.producerId, entry.tokenId && `token ${entry.tokenId}`].filter(Boolean);
  const refused = entry.reason === "" ? "" : `refused: ${entry.reason}`;
  const what = [entry.action, ...about, refused].filter(Boolean).join(" ");
  const changes = changesOf(entry.before ?? {}, entry.after ?? {});
  return [
    `${time}  ${entry.actorName}${id}  ${what}`,
    ...(changes.length === 0 ? [] : [`    ${changes.join("; ")}`]),
  ];
}

/** What an empty value means where it means something. */
const EMPTY_TEXTS: Readonly<Record<string, string>> = {
  allowed_instruments: "all",
  producer_ids: "all",
  rate_limit_per_second: "none",
  expire_time: "never",
};

/** A phrase for each value that is not the same before and after; of what is new, what is set. */
function changesOf(before: JsonObject, after: JsonObject): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names.flatMap((name) => {
    const [old, now] = [before[name], after[name]];
    if (JSON.stringify(old) === JSON.stringify(now)) return [];
    if (old === undefined) return isEmpty(now) ? [] : [`${name} ${valueText(name, now)}`];
    return [`${name} ${valueText(name, old)} → ${valueText(name, now)}`];
  });
}

function isEmpty(value: unknown): boolean {
  const isEmptyList = Array.isArray(value) && value.length === 0;
  return [undefined, null, "", 0, false].includes(value as null) || isEmptyList;
}

function valueText(name: string, value: unknown): string {
  if (isEmpty(value) && value !== false) return EMPTY_TEXTS[name] ?? (value === 0 ? "0" : "none");
  if (Array.isArray(value)) return value.map((each) => itemText(each)).join(", ");
  return itemText(value);
}

/** A secret in a list shows by its id, and when it ends. */
function itemText(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  const { secret_id: id, expire_time: end } = value as Record<string, unknown>;
  if (typeof id !== "string") return JSON.stringify(value);
  return typeof end === "string" ? `${id} until ${end}` : id;
}
