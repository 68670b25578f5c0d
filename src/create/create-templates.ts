import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { BundleError, invalidError } from '../errors.js';
import type { BundledComponent } from '../model/contents.js';
import type { ManifestConfiguration } from '../model/declared.js';
import { knownNames, MAX_TEMPLATE_BYTES, usesSecret } from '../model/declared.js';
import { textError } from '../model/document.js';
import type { Manifest } from '../model/manifest.js';
import type { TextProblem } from '../model/template.js';
import { slotsOf, templateProblems } from '../model/template.js';
import { readBounded, reasonOf } from './read-bounded.js';

/** Component → its configuration as the bundle carries it. */
export type Configurations = ReadonlyMap<string, NonNullable<BundledComponent['configuration']>>;

/**
 * Reads the templates that the manifest names and puts their texts in the place of the names.
 * @throws BundleError exit 3, with the places of unknown values as file:line:col
 */
export async function readConfigurations(manifest: Manifest, manifestPath: string): Promise<Configurations> {
  const found = new Map<string, NonNullable<BundledComponent['configuration']>>();
  for (const { name, configuration } of manifest.components) {
    if (configuration === undefined) continue;
    found.set(
      name,
      typeof configuration === 'string'
        ? configuration
        : await withTexts(configuration, path.dirname(manifestPath)),
    );
  }
  return found;
}

async function withTexts(
  declared: ManifestConfiguration,
  folder: string,
): Promise<Exclude<BundledComponent['configuration'], string | undefined>> {
  const files = [];
  for (const { template, ...file } of declared.files) {
    const isPublic = !file.mode.endsWith('0');
    const rule = isPublic ? `its file has the mode ${file.mode}, which lets everybody read it` : undefined;
    files.push({ ...file, content: await textOf(template, folder, declared, rule) });
  }
  const units = [];
  for (const { template, ...unit } of declared.units)
    units.push({
      ...unit,
      content: await textOf(template, folder, declared, 'everybody on the node can read a unit'),
    });
  return { ...declared, files, units };
}

/** @param noSecret why this text may not hold a secret; undefined when it may */
async function textOf(
  template: string,
  folder: string,
  declared: ManifestConfiguration,
  noSecret: string | undefined,
): Promise<string> {
  const file = path.join(folder, template);
  const text = await readTemplate(file, folder);
  const secrets = slotsOf(text)
    .filter(({ name }) => usesSecret(`{{${name}}}`, declared.values))
    .map(({ name, offset }) => ({ message: `"${name}" is a secret, but ${noSecret ?? ''}`, offset }));
  const problems: TextProblem[] = [
    ...templateProblems(text, knownNames(declared)),
    ...(noSecret === undefined ? [] : secrets),
    ...[...text.matchAll(/[^\P{Cc}\n\t]/gu)].map(({ index }) => ({
      message: 'is a control character',
      offset: index,
    })),
  ];
  if (problems.length > 0) throw textError(problems.slice(0, 20), text, file, 'BAD_TEMPLATE');
  return text;
}

/** Its text goes into the bundle for everybody to read: a link may not bring in a file of somewhere else. */
async function requireBelow(file: string, folder: string): Promise<void> {
  const target = await realpath(file);
  if (target.startsWith(path.join(await realpath(folder), path.sep))) return;
  throw invalidError({
    code: 'BAD_TEMPLATE',
    message: `the template is a link to a file outside the manifest's folder: ${target}`,
    where: file,
    hint: `The bundle carries its text: copy it beside the manifest if that is meant: cp --remove-destination ${target} ${file}`,
  });
}

async function readTemplate(file: string, folder: string): Promise<string> {
  const bytes = await requireBelow(file, folder)
    .then(() => readBounded(file, MAX_TEMPLATE_BYTES))
    .catch((cause: unknown) => {
      if (cause instanceof BundleError) throw cause;
      throw invalidError({
        code: 'NO_TEMPLATE',
        message: `the template cannot be read: ${reasonOf(cause)}`,
        where: file,
        hint: `Template paths start at the manifest's folder. See: ls -l ${file}`,
        cause,
      });
    });
  if (bytes.length > MAX_TEMPLATE_BYTES)
    throw invalidError({
      code: 'BAD_TEMPLATE',
      message: `the template is too large: at most ${String(MAX_TEMPLATE_BYTES)} bytes are carried`,
      where: file,
      hint: 'A large file belongs into the source, installed by the build.',
    });
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw invalidError({
      code: 'BAD_TEMPLATE',
      message: 'the template is not UTF-8 text',
      where: file,
      hint: `Convert it, for example: iconv -f CP949 -t UTF-8 ${file} > ${file}.utf8`,
      cause,
    });
  }
}
