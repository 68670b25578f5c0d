// Writes docs/schema/*.schema.json from the product's own schemas, for editors.
//   node --import tsx scripts/schemas.mjs            write
//   node --import tsx scripts/schemas.mjs --check    exit 1 when a file is not what would be written
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { PlanSchema } from '../src/install/plan-schema.ts';
import { ManifestSchema } from '../src/model/manifest.ts';
import { SiteSchema } from '../src/model/site.ts';
import { root } from './run.mjs';
import * as descriptions from './schema-descriptions.mjs';

const problems = [];

/** Puts descriptions to the properties of a JSON Schema, in place; `seen` collects their paths. */
function describe(schema, at, texts, seen) {
  for (const form of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) describe(form, at, texts, seen);
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const path = at === '' ? name : `${at}.${name}`;
    seen.add(path);
    if (texts[path] === undefined) problems.push(`${path} has no description`);
    property.description = texts[path];
    describe(property, path, texts, seen);
  }
  if (schema.items !== undefined) describe(schema.items, `${at}[]`, texts, seen);
  if (typeof schema.additionalProperties === 'object')
    describe(schema.additionalProperties, `${at}.*`, texts, seen);
}

function textOf(title, zod, texts) {
  // What a person writes, before defaults. What one key says about another is checked by the command only.
  const schema = z.toJSONSchema(zod, { io: 'input', target: 'draft-7' });
  const seen = new Set();
  describe(schema, '', texts, seen);
  for (const path of Object.keys(texts)) if (!seen.has(path)) problems.push(`${path} is described, but gone`);
  return `${JSON.stringify({ title, ...schema }, null, 2)}\n`;
}

const wanted = {
  'docs/schema/manifest.schema.json': textOf('airbundle manifest', ManifestSchema, descriptions.manifest),
  'docs/schema/plan.schema.json': textOf('airbundle plan', PlanSchema, descriptions.plan),
  'docs/schema/site.schema.json': textOf('airbundle site', SiteSchema, descriptions.site),
};

const check = process.argv.includes('--check');
if (!check) mkdirSync(`${root}docs/schema`, { recursive: true });
for (const [file, text] of Object.entries(wanted)) {
  if (!check) writeFileSync(`${root}${file}`, text);
  else if (readFileSync(`${root}${file}`, 'utf8') !== text)
    problems.push(`${file} is old: node --import tsx scripts/schemas.mjs`);
}
for (const problem of problems) console.error(`schemas: ${problem} (scripts/schema-descriptions.mjs)`);
process.exitCode = problems.length === 0 ? 0 : 1;
