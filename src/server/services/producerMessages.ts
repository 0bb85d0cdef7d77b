/** Producers between their messages and the domain. */
import { create } from "@bufbuild/protobuf";
import {
  type Producer,
  ProducerSchema,
  type ProducerSecret,
  ProducerSecretSchema,
} from "../../../gen/signals/v1/producer_service_pb.ts";
import type {
  ProducerInfo,
  ProducerSetting,
  ProducerSettings,
  SecretInfo,
} from "../../access/index.ts";
import { instantToProto, type MessageFields, optionalTime } from "../../signal/index.ts";

/** The settings as a message has them, where 0 sets no limit and an empty list allows all. */
type SettingFields = Pick<
  MessageFields<Producer>,
  "displayName" | "requireApproval" | "rateLimitPerSecond" | "allowedInstruments"
>;

/** The settings that a mask may name, by their names there. */
export const SETTINGS_BY_PATH: Readonly<Record<string, ProducerSetting>> = {
  display_name: "displayName",
  require_approval: "requireApproval",
  rate_limit_per_second: "rateLimitPerSecond",
  allowed_instruments: "allowedInstruments",
};

/** The settings of a message. */
export function settingsFromProto(fields: SettingFields): ProducerSettings {
  const { displayName, requireApproval, rateLimitPerSecond, allowedInstruments } = fields;
  return {
    displayName,
    requireApproval,
    rateLimitPerSecond: rateLimitPerSecond === 0 ? undefined : rateLimitPerSecond,
    allowedInstruments:
      allowedInstruments.length === 0 ? undefined : [...new Set(allowedInstruments)],
  };
}

/** The message of a producer. */
export function producerToProto(producer: ProducerInfo): Producer {
  return producerMessage({
    producerId: producer.producerId,
    displayName: producer.displayName,
    enabled: producer.enabled,
    requireApproval: producer.requireApproval,
    rateLimitPerSecond: producer.rateLimitPerSecond ?? 0,
    allowedInstruments: [...(producer.allowedInstruments ?? [])],
    secrets: producer.secrets.map(secretToProto),
    createTime: instantToProto(producer.createTime),
    updateTime: instantToProto(producer.updateTime),
    lastSeenTime: optionalTime(producer.lastSeenTime),
  });
}

function secretToProto(secret: SecretInfo): ProducerSecret {
  return secretMessage({
    secretId: secret.secretId,
    createTime: instantToProto(secret.createTime),
    expireTime: optionalTime(secret.expireTime),
    lastUsedTime: optionalTime(secret.lastUsedTime),
  });
}

function producerMessage(fields: MessageFields<Producer>): Producer {
  return create(ProducerSchema, fields);
}

function secretMessage(fields: MessageFields<ProducerSecret>): ProducerSecret {
  return create(ProducerSecretSchema, fields);
}
