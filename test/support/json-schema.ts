/*
 * A small reader of JSON Schema, written from its specification and not from the product: the keywords
 * that docs/schema uses. An unknown keyword is an error, so that nothing is passed over.
 */

export type JsonSchema = Readonly<Record<string, unknown>>;

const NOTES = ['$schema', 'title', 'description', 'default'];

/** What is wrong with a value, as paths; empty when it is valid. */
export function violations(schema: JsonSchema, value: unknown, at = '$'): string[] {
  return Object.entries(schema).flatMap(([keyword, rule]) => {
    if (NOTES.includes(keyword)) return [];
    const check = KEYWORDS[keyword];
    if (check === undefined) throw new Error(`${at}: the keyword ${keyword} is not known`);
    return check(rule as never, value, at, schema);
  });
}

type Keyword = (rule: never, value: unknown, at: string, schema: JsonSchema) => string[];

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const unless = (good: boolean, at: string, what: string): string[] => (good ? [] : [`${at}: ${what}`]);

const fits = (rules: readonly JsonSchema[], value: unknown, at: string): number =>
  rules.filter((rule) => violations(rule, value, at).length === 0).length;

const TYPES: Record<string, (value: unknown) => boolean> = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  integer: Number.isInteger,
  boolean: (value) => typeof value === 'boolean',
};

const KEYWORDS: Record<string, Keyword | undefined> = {
  type: (rule: string, value, at) => unless(TYPES[rule]?.(value) === true, at, `is no ${rule}`),
  const: (rule: unknown, value, at) => unless(rule === value, at, `is not ${String(rule)}`),
  enum: (rule: readonly unknown[], value, at) =>
    unless(rule.includes(value), at, `is none of ${rule.join(', ')}`),
  anyOf: (rule: readonly JsonSchema[], value, at) =>
    unless(fits(rule, value, at) > 0, at, 'fits no form of anyOf'),
  oneOf: (rule: readonly JsonSchema[], value, at) =>
    unless(fits(rule, value, at) === 1, at, 'fits not exactly one form of oneOf'),
  properties: (rule: Record<string, JsonSchema>, value, at) =>
    isObject(value)
      ? Object.entries(rule).flatMap(([name, property]) =>
          name in value ? violations(property, value[name], `${at}.${name}`) : [],
        )
      : [],
  required: (rule: readonly string[], value, at) =>
    isObject(value) ? rule.flatMap((name) => unless(name in value, at, `lacks ${name}`)) : [],
  additionalProperties: (rule: boolean | JsonSchema, value, at, schema) => {
    const known = Object.keys(schema['properties'] ?? {});
    const others = isObject(value) ? Object.entries(value).filter(([name]) => !known.includes(name)) : [];
    return others.flatMap(([name, property]) =>
      typeof rule === 'boolean'
        ? unless(rule, at, `has an unknown ${name}`)
        : violations(rule, property, `${at}.${name}`),
    );
  },
  propertyNames: (rule: JsonSchema, value, at) =>
    isObject(value) ? Object.keys(value).flatMap((name) => violations(rule, name, `${at}.${name}`)) : [],
  items: (rule: JsonSchema, value, at) =>
    Array.isArray(value)
      ? value.flatMap((item, index) => violations(rule, item, `${at}[${String(index)}]`))
      : [],
  minItems: (rule: number, value, at) =>
    unless(!Array.isArray(value) || value.length >= rule, at, 'has too few entries'),
  maxItems: (rule: number, value, at) =>
    unless(!Array.isArray(value) || value.length <= rule, at, 'has too many entries'),
  minLength: (rule: number, value, at) =>
    unless(typeof value !== 'string' || value.length >= rule, at, 'is too short'),
  maxLength: (rule: number, value, at) =>
    unless(typeof value !== 'string' || value.length <= rule, at, 'is too long'),
  pattern: (rule: string, value, at) =>
    unless(typeof value !== 'string' || new RegExp(rule, 'u').test(value), at, `does not match ${rule}`),
  minimum: (rule: number, value, at) =>
    unless(typeof value !== 'number' || value >= rule, at, 'is too small'),
  maximum: (rule: number, value, at) =>
    unless(typeof value !== 'number' || value <= rule, at, 'is too large'),
};
