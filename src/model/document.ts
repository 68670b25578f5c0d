import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  parseDocument as parseYaml,
  visit,
} from 'yaml';
import type { CST, Document, Node } from 'yaml';
import type { z } from 'zod';
import { invalidError } from '../errors.js';
import { nearest } from './nearest.js';
import { knownKeys } from './strict.js';

/** Hostile or mistaken inputs: a manifest or site larger than this is not read. */
export const MAX_DOCUMENT_BYTES = 256 * 1024;

/** The deepest that we write is 8. What composes the values recurses, and a full stack can end the process. */
export const MAX_DOCUMENT_DEPTH = 64;

/** Entries of lists and maps; the longest that we write has some hundred. Composing takes their square in time. */
export const MAX_DOCUMENT_PARTS = 20_000;

/** Of a file in which everything is wrong, more would push the first off the screen. */
const SHOWN_PROBLEMS = 20;

interface Problem {
  readonly message: string;
  /** Offset into the text, UTF-16 units; -1 when the place is not known. */
  readonly offset: number;
}

/**
 * Parses one YAML document and checks it against a schema.
 *
 * Every string stays a string (YAML's "core" schema would read 7.10 as 7.1): a number where the
 * schema wants text is an error that says to quote it. Anchors that multiply are limited by the
 * parser, merge keys are off.
 *
 * @throws BundleError exit 3, with every problem of the file as `file:line:col: message` and a caret.
 */
export function readDocument<T>(bytes: Uint8Array, file: string, schema: z.ZodType<T>, code: string): T {
  const text = decodeUtf8(bytes, file, code);
  const lines = new LineCounter();
  const much = tooMuch(text);
  if (much !== undefined) throw textError([much], text, file, code);
  const document = parseYaml(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    merge: false,
    version: '1.2',
  });

  const syntax = [...document.errors, ...document.warnings].map((error) => ({
    message: firstLine(error.message),
    offset: error.pos[0],
  }));
  syntax.push(...keysOfMore(document));
  if (syntax.length > 0) throw documentError(syntax, text, lines, file, code);
  if (document.contents === null) {
    throw invalidError({
      code,
      message: 'the file is empty',
      where: `${file}:1:1`,
      hint: "Start from one that works, on the packager's machine: bundle init my-bundle",
    });
  }
  const parsed = schema.safeParse(valueOf(document, file, code), { reportInput: true });
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.flatMap((issue) => locate(document, issue));
  throw documentError(problems, text, lines, file, code);
}

/**
 * What is too deep or too much to compose. Closing what is open recurses in the parser of tokens too, so that its own
 * stack is looked at after each of them.
 */
function tooMuch(text: string): Problem | undefined {
  const parser = new Parser();
  const open: CST.Token[] = [];
  const keep = (tokens: Iterable<CST.Token>): void => {
    for (const token of tokens)
      if (token.type === 'document' && token.value !== undefined) open.push(token.value);
  };
  for (const lexeme of new Lexer().lex(text)) {
    keep(parser.next(lexeme));
    // The document itself lies below, and what has just begun on top.
    if (parser.stack.length > MAX_DOCUMENT_DEPTH + 2)
      return {
        message: `lists and maps lie more than ${String(MAX_DOCUMENT_DEPTH)} deep in each other`,
        offset: parser.offset,
      };
  }
  keep(parser.end());
  let parts = 0;
  for (let token = open.pop(); token !== undefined; token = open.pop()) {
    if (!('items' in token)) continue;
    parts += token.items.length;
    if (parts > MAX_DOCUMENT_PARTS)
      return { message: `more than ${String(MAX_DOCUMENT_PARTS)} keys and values`, offset: token.offset };
    for (const { key, value } of token.items)
      for (const inner of [key, value]) if (inner !== undefined && inner !== null) open.push(inner);
  }
  return undefined;
}

/** {{name}} without quotes is a map whose key is a map: the parser would make text of it, and warn on stderr. */
function keysOfMore(document: Document): Problem[] {
  const found: Problem[] = [];
  visit(document, {
    Pair(_, { key }) {
      if (!isMap(key) && !isSeq(key) && !isAlias(key)) return undefined;
      found.push({
        message: 'a key must be text: put what begins with {, [ or * in quotes',
        offset: startOf(key) ?? -1,
      });
      return visit.SKIP;
    },
  });
  return found;
}

function decodeUtf8(bytes: Uint8Array, file: string, code: string): string {
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    throw invalidError({
      code,
      message: `the file is too large: at most ${String(MAX_DOCUMENT_BYTES)} bytes are read`,
      where: file,
      hint: 'Check that this is the right file.',
    });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw invalidError({
      code,
      message: 'the file is not UTF-8 text',
      where: file,
      hint: `Convert it, for example: iconv -f CP949 -t UTF-8 ${file} > ${file}.utf8`,
      cause,
    });
  }
}

/** A file whose aliases multiply ("billion laughs") is refused by the parser. */
function valueOf(document: Document, file: string, code: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 }) as unknown;
  } catch (cause) {
    throw invalidError({
      code,
      message: cause instanceof Error ? cause.message : String(cause),
      where: file,
      hint: 'Write the values out instead of using YAML aliases.',
      cause,
    });
  }
}

function locate(document: Document, issue: z.core.$ZodIssue): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(issue.message);
    return issue.keys.map((key) => ({
      message: `unknown key "${key}"${suggestion(key, known)}`,
      offset: offsetOf(document, [...issue.path, key], true),
    }));
  }
  const form =
    issue.code === 'invalid_union' && issue.input !== undefined ? nearestForm(issue.errors) : undefined;
  if (form !== undefined)
    return form.flatMap((inner) => locate(document, { ...inner, path: [...issue.path, ...inner.path] }));
  const path = issue.path.map(String).join('.');
  return [
    {
      message: `${path === '' ? '' : `${path}: `}${wording(issue)}`,
      offset: offsetOf(document, issue.path, false),
    },
  ];
}

/** Of the forms that a value may have and is of the right kind for, the problems of the one it comes closest to. */
function nearestForm(
  forms: readonly (readonly z.core.$ZodIssue[])[],
): readonly z.core.$ZodIssue[] | undefined {
  const weight = (issues: readonly z.core.$ZodIssue[]): number =>
    issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);
  return forms
    .filter((form) => !form.some((inner) => inner.path.length === 0 && inner.code === 'invalid_type'))
    .sort((a, b) => weight(a) - weight(b))[0];
}

function wording(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type' && issue.expected === 'string' && typeof issue.input === 'number')
    return 'must be text: put it in quotes (YAML reads 7.10 as the number 7.1)';
  if ((issue.code === 'invalid_type' || issue.code === 'invalid_union') && issue.input === undefined)
    return 'is missing';
  // What the schema has no words of its own for: zod's are a programmer's.
  if (issue.code === 'invalid_type' && issue.message.startsWith('Invalid input'))
    return `must be ${KINDS[issue.expected] ?? issue.expected}, not ${kindOf(issue.input)}`;
  return issue.message;
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'keys with values',
  record: 'keys with values',
  array: 'a list',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function kindOf(value: unknown): string {
  if (value === null) return 'empty';
  return KINDS[Array.isArray(value) ? 'array' : typeof value] ?? typeof value;
}

function suggestion(key: string, known: readonly string[]): string {
  const close = nearest(key, known);
  if (close !== undefined) return `; did you mean "${close}"?`;
  return known.length === 0 ? '' : `; known here: ${known.join(', ')}`;
}

/** Where the node (or its key) at `path` begins; the nearest existing parent when it is missing. */
function offsetOf(document: Document, path: readonly PropertyKey[], wantKey: boolean): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const [index, part] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part),
      );
      if (pair === undefined) break;
      const atKey = startOf(pair.key) ?? offset;
      node = pair.value;
      const last = index === path.length - 1;
      offset = last && wantKey ? atKey : (startOf(node) ?? atKey);
      if (last && !wantKey && (isMap(node) || isSeq(node))) offset = atKey;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      offset = startOf(node) ?? offset;
    } else break;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return typeof node === 'object' && node !== null && 'range' in node
    ? ((node as Node).range?.[0] ?? undefined)
    : undefined;
}

/** Problems of a text that is no YAML (a template), worded like those of a document. */
export function textError(problems: readonly Problem[], text: string, file: string, code: string): Error {
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (const match of text.matchAll(/\n/g)) lines.addNewLine(match.index + 1);
  return documentError(problems, text, lines, file, code);
}

function documentError(
  problems: readonly Problem[],
  text: string,
  lines: LineCounter,
  file: string,
  code: string,
): Error {
  const places = problems
    .map((problem) => ({ ...problem, ...lines.linePos(Math.max(problem.offset, 0)) }))
    .sort((a, b) => a.line - b.line || a.col - b.col);
  const source = text.split('\n');
  const details = places.slice(0, SHOWN_PROBLEMS).flatMap((place) => {
    const line = source[place.line - 1] ?? '';
    const gutter = `${String(place.line)} | `;
    return [
      `${file}:${String(place.line)}:${String(place.col)}: ${place.message}`,
      ...excerpt(line, gutter, place.col),
    ];
  });
  if (places.length > SHOWN_PROBLEMS) details.push(`and ${String(places.length - SHOWN_PROBLEMS)} more`);
  const first = places[0];
  return invalidError({
    code,
    message:
      problems.length === 1
        ? (first?.message ?? 'invalid')
        : `${String(problems.length)} problems in ${file}`,
    where: first === undefined ? file : `${file}:${String(first.line)}:${String(first.col)}`,
    details,
    hint: `Mend ${problems.length === 1 ? 'the place' : 'the places'} above and run the command again.`,
  });
}

/** The line with a caret; a very long line is cut to a window around the place. */
function excerpt(line: string, gutter: string, col: number): string[] {
  const width = 100;
  const from = col > width ? col - 40 : 0;
  const shown = line.slice(from, from + width).replaceAll('\t', ' ');
  return [`${gutter}${shown}`, `${' '.repeat(gutter.length + col - 1 - from)}^`];
}

function firstLine(message: string): string {
  return message.split('\n')[0] ?? message;
}
