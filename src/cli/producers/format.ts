/**
 * Producers for people and for programs. Pure.
 */
import { toJson } from "@bufbuild/protobuf";
import {
  type Producer,
  ProducerSchema,
  type ProducerSecret,
} from "../../../gen/signals/v1/producer_service_pb.ts";
import { distanceText, whenText } from "../age.ts";
import type { Column } from "../table.ts";

/** A producer as an object for JSON, in the names of the API. */
export function producerJson(producer: Producer): Record<string, unknown> {
  const json = toJson(ProducerSchema, producer, {
    useProtoFieldName: true,
    alwaysEmitImplicit: true,
  });
  return json as Record<string, unknown>;
}

/** The columns of `producers list`. */
export const LIST_COLUMNS: readonly Column[] = [
  { title: "PRODUCER" },
  { title: "NAME" },
  { title: "STATE" },
  { title: "APPROVAL" },
  { title: "LIMIT" },
  { title: "INSTRUMENTS" },
  { title: "SECRETS" },
  { title: "LAST SEEN" },
];

/** A producer as a row of `producers list`. */
export function producerRow(producer: Producer, nowMs: number): string[] {
  return [
    producer.producerId,
    producer.displayName || "-",
    stateText(producer),
    approvalText(producer),
    limitText(producer),
    shortened(producer.allowedInstruments),
    String(producer.secrets.length),
    distanceText(producer.lastSeenTime, nowMs, "never"),
  ];
}

const SHOWN_INSTRUMENTS = 3;

function shortened(instruments: readonly string[]): string {
  const shown = instruments.slice(0, SHOWN_INSTRUMENTS);
  const rest = instruments.length - shown.length;
  return rest === 0 ? instrumentsText(shown) : `${shown.join(",")} +${rest}`;
}

/** The rows of `producers show`. */
export function producerRows(producer: Producer, nowMs: number): string[][] {
  return [
    ["producer", producer.producerId],
    ["name", producer.displayName || "-"],
    ["state", stateText(producer)],
    ["approval", approvalText(producer)],
    ["rate limit", limitText(producer)],
    ["instruments", instrumentsText(producer.allowedInstruments)],
    ["created", whenText(producer.createTime, nowMs)],
    ["changed", whenText(producer.updateTime, nowMs)],
    ["last seen", whenText(producer.lastSeenTime, nowMs, "never")],
  ];
}

/** The columns of the secrets in `producers show`. */
export const SECRET_COLUMNS: readonly Column[] = [
  { title: "SECRET" },
  { title: "CREATED" },
  { title: "ENDS" },
  { title: "LAST USED" },
];

/** A secret as a row of `producers show`. */
export function secretRow(secret: ProducerSecret, nowMs: number): string[] {
  return [
    secret.secretId,
    whenText(secret.createTime, nowMs),
    whenText(secret.expireTime, nowMs, "never"),
    whenText(secret.lastUsedTime, nowMs, "never"),
  ];
}

function stateText({ enabled }: Producer): string {
  return enabled ? "enabled" : "disabled";
}

function approvalText({ requireApproval }: Producer): string {
  return requireApproval ? "required" : "none";
}

function limitText({ rateLimitPerSecond: limit }: Producer): string {
  return limit === 0 ? "none" : `${limit}/s`;
}

function instrumentsText(instruments: readonly string[]): string {
  return instruments.length === 0 ? "all" : instruments.join(",");
}

/** How each setting reads in the answer to `producers update`. */
export const SETTING_TEXTS: Readonly<Record<string, (producer: Producer) => string>> = {
  display_name: ({ displayName }) => `name ${displayName || "none"}`,
  require_approval: (producer) => `approval ${approvalText(producer)}`,
  rate_limit_per_second: (producer) => `rate limit ${limitText(producer)}`,
  allowed_instruments: ({ allowedInstruments }) =>
    `instruments ${instrumentsText(allowedInstruments)}`,
};
