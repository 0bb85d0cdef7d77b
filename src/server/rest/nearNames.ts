/**
 * What a name that REST does not know was meant to be. Unknown fields are ignored, but a
 * misspelt stop loss must not vanish.
 */
import {
  bareName,
  editsBetween,
  type Field,
  type FieldName,
  REQUEST_FIELDS,
  SIGNAL_FIELD_LIST,
} from "../../signal/index.ts";

/** The fields of a REST body. */
const FIELDS: readonly (FieldName & Partial<Pick<Field, "aliases">>)[] = [
  ...SIGNAL_FIELD_LIST,
  ...Object.values(REQUEST_FIELDS),
];

/** Each name of a field, and how many edits a misspelling of it may be away. */
const EDITS_BY_NAME = new Map(
  FIELDS.flatMap(({ name, edits = 2, aliases }) => [
    [name, edits],
    ...Object.entries(aliases ?? {}),
  ]),
);

/** What others call these fields, in the form of {@link bareName}. */
const MEANT_BY_OTHER_NAME: ReadonlyMap<string, string> = new Map(
  FIELDS.flatMap(({ name, mistaken }) =>
    (mistaken?.split(" ") ?? []).map((other) => [other, name]),
  ),
);

/** Terms of traders that only look like a name. */
const ORDINARY_NAMES: ReadonlySet<string> = new Set(["confluence"]);

const KNOWN = [...EDITS_BY_NAME].map(([name, edits]) => ({
  name,
  bareName: bareName(name),
  edits,
}));
const LENGTH_MAX = Math.max(
  ...KNOWN.map(({ bareName, edits }) => bareName.length + edits),
  ...[...MEANT_BY_OTHER_NAME.keys()].map(({ length }) => length),
);

/** Whether it is the name of a field. */
export function isRestName(name: string): boolean {
  return EDITS_BY_NAME.has(name);
}

/** The field that was meant by a name that is none; `undefined` if it looks like no other. */
export function nameMeantBy(name: string): string | undefined {
  const bare = bareName(name);
  if (bare.length > LENGTH_MAX || ORDINARY_NAMES.has(bare)) return undefined;
  const other = MEANT_BY_OTHER_NAME.get(bare);
  if (other !== undefined) return other;
  return KNOWN.find((known) => isNear(bare, known))?.name;
}

function isNear(name: string, { bareName, edits }: (typeof KNOWN)[number]): boolean {
  return editsBetween(name, bareName, edits) <= edits;
}
