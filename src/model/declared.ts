import { z } from 'zod';
import { Name, PlacedPath, TargetPath } from './grammar.js';
import { nearest } from './nearest.js';
import { Duration, IPV4 } from './scalars.js';
import { strict } from './strict.js';
import { BUILT_IN, slotsOf, templateProblems } from './template.js';
import { Values } from './values.js';

/*
 * A configuration that a manifest declares itself, for software that has no renderer here: files and
 * units from templates, accounts, folders, checks. In the manifest a file names its template; in
 * bundle.json it holds the template's text.
 */

/** A template is read whole, travels in bundle.json and is shown in reviews. */
export const MAX_TEMPLATE_BYTES = 64 * 1024;

const Account = z
  .string()
  .regex(/^[a-z_][a-z0-9_-]{0,30}$/, 'must be an account name such as redis')
  .refine((name) => name !== 'root', 'is there already: leave root out');

const Owner = z.string().regex(/^[a-z_][a-z0-9_-]{0,30}$/, 'must be an account name such as redis');

/** Octal, as chmod takes it; nobody else may write, and no setuid. */
const Mode = z
  .string()
  .regex(
    /^0[0-7][0-7][0145]$/,
    "must be an octal mode in quotes, such as '0640'; others may not write, nothing is setuid",
  );

const UnitName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_@-]*\.service$/, 'must be the name of a service unit such as redis.service')
  .max(100, 'must have at most 100 characters');

/** A word of a command. `{{name}}` is filled in; `{file}` only where a file is tested. */
const Word = z
  .string()
  .min(1, 'must not be empty')
  .max(1024, 'must have at most 1024 characters')
  .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters');

const Command = z.array(Word).min(1, 'must name a command').max(100, 'must have at most 100 words');

const Program = Command.refine(
  ([program]) => TargetPath.safeParse(program).success,
  'must begin with the absolute path of a program',
);

const SLOT = '\\{\\{ *[A-Za-z.]+ *\\}\\}';
const ListenAddress = z
  .string()
  .regex(
    new RegExp(`^(?:${IPV4}|${SLOT}):(?:[1-9][0-9]{0,4}|${SLOT})$`),
    "must be ADDRESS:PORT, each a number or a value: '{{bind}}:{{port}}'",
  );

const Validate = strict({
  /** Holds `{file}`: the rendered file next to its place. */
  command: Program,
  okExits: z.array(z.int().min(0).max(255)).min(1, 'must hold at least one exit code').default([0]),
});

const Check = z.union(
  [
    /** Something listens there; also what a firewall must let in, unless it is loopback. */
    strict({ listen: ListenAddress, timeout: Duration.optional() }),
    /** Exits 0, and its output holds `expect` (filled in as well) where given. */
    strict({
      command: Program,
      expect: Word.max(200, 'must have at most 200 characters').optional(),
      timeout: Duration.optional(),
    }),
  ],
  'must be { listen: ADDRESS:PORT } or { command: [PROGRAM, …], expect: TEXT }',
);

const ownership = { owner: Owner.default('root'), group: Owner.optional() };

/** @param body where the text of a file comes from */
const declaredSchema = <T extends z.ZodRawShape>(body: T) =>
  strict({
    /** What the site may or must say: `components: { NAME: { … } }`. */
    values: Values.default({}),
    accounts: z
      .array(
        strict({
          name: Account,
          home: PlacedPath.default('/nonexistent'),
          shell: TargetPath.default('/sbin/nologin'),
        }),
      )
      .max(10, 'must hold at most 10 accounts')
      .default([]),
    /** Folders that belong to this software; those of its files come by themselves. */
    directories: z
      .array(strict({ path: PlacedPath, mode: Mode.default('0755'), ...ownership }))
      .max(50, 'must hold at most 50 folders')
      .default([]),
    /** Written, tested and swapped in this order. */
    files: z
      .array(
        strict({
          path: PlacedPath,
          mode: Mode.default('0644'),
          ...ownership,
          ...body,
          validate: Validate.optional(),
        }),
      )
      .max(50, 'must hold at most 50 files')
      .default([]),
    /** Units in /etc/systemd/system, enabled and started in this order. */
    units: z
      .array(
        strict({
          name: UnitName,
          ...body,
          /** Files whose change needs a reload only; every other file of the component needs a restart. */
          reloadOn: z.array(TargetPath).default([]),
        }),
      )
      .max(10, 'must hold at most 10 units')
      .default([]),
    /** Asked after the start, besides every unit's own state. */
    checks: z.array(Check).max(20, 'must hold at most 20 checks').default([]),
    /** Its first line is what `status` shows. */
    version: Program.optional(),
  });

const Template = z
  .string()
  .regex(
    /^(?!\/)(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._+@/-]+$/,
    'must be the path of a template, relative to the manifest and without ".."',
  )
  .max(255, 'must have at most 255 characters');

/** As a person writes it. */
export const ManifestConfiguration = declaredSchema({ template: Template }).superRefine(
  (declared, context) => {
    for (const { path, message } of crossProblems(declared))
      context.addIssue({ code: 'custom', path: [...path], message });
  },
);
export type ManifestConfiguration = z.infer<typeof ManifestConfiguration>;

/** As a bundle carries it: the templates' texts instead of their names. */
export const BundledConfiguration = declaredSchema({
  content: z.string().max(MAX_TEMPLATE_BYTES),
});
export type BundledConfiguration = z.infer<typeof BundledConfiguration>;

/** Every name that a template of this component may use. */
export function knownNames(declared: Pick<ManifestConfiguration, 'values'>): string[] {
  return [...BUILT_IN, ...Object.keys(declared.values)];
}

/** Whether a text brings in the content of a secret. */
export function usesSecret(text: string, values: Values): boolean {
  return slotsOf(text).some(({ name }) => values[name]?.type === 'secret');
}

interface CrossProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

function crossProblems(declared: ManifestConfiguration): CrossProblem[] {
  return [
    ...ownerProblems(declared),
    ...repeated(declared.files.map((file) => file.path)).map((index) => ({
      path: ['files', index, 'path'],
      message: 'is there twice',
    })),
    ...repeated(declared.units.map((unit) => unit.name)).map((index) => ({
      path: ['units', index, 'name'],
      message: 'is there twice',
    })),
    ...reloadProblems(declared),
    ...commandProblems(declared),
  ];
}

function ownerProblems(declared: ManifestConfiguration): CrossProblem[] {
  const accounts = ['root', ...declared.accounts.map((account) => account.name)];
  return (['directories', 'files'] as const).flatMap((kind) =>
    declared[kind].flatMap((entry, index) =>
      (['owner', 'group'] as const).flatMap((field) => {
        const name = entry[field];
        if (name === undefined || accounts.includes(name)) return [];
        return [{ path: [kind, index, field], message: notThere(name, accounts, 'accounts') }];
      }),
    ),
  );
}

function reloadProblems({ units, files }: ManifestConfiguration): CrossProblem[] {
  const paths = files.map((file) => file.path);
  return units.flatMap((unit, index) =>
    unit.reloadOn.flatMap((path, at) =>
      paths.includes(path)
        ? []
        : [{ path: ['units', index, 'reloadOn', at], message: notThere(path, paths, 'files') }],
    ),
  );
}

function commandProblems(declared: ManifestConfiguration): CrossProblem[] {
  const known = knownNames(declared);
  const inWords = (path: readonly (string | number)[], words: readonly string[]): CrossProblem[] =>
    words.flatMap((word, at) => [
      ...templateProblems(word, known).map(({ message }) => ({ path: [...path, at], message })),
      ...(usesSecret(word, declared.values)
        ? [
            {
              path: [...path, at],
              message: 'holds a secret: everybody on the node can read a command line',
            },
          ]
        : []),
    ]);
  return [
    ...declared.files.flatMap(({ validate }, index) => {
      if (validate === undefined) return [];
      const path = ['files', index, 'validate', 'command'];
      const named = validate.command.filter((word) => word.includes('{file}')).length;
      return [
        ...inWords(path, validate.command),
        ...(named === 1 ? [] : [{ path, message: 'must hold {file} in exactly one word' }]),
      ];
    }),
    ...declared.checks.flatMap((check, index) =>
      'listen' in check
        ? listenProblems(declared, check.listen).map((message) => ({
            path: ['checks', index, 'listen'],
            message,
          }))
        : [
            ...inWords(['checks', index, 'command'], check.command),
            ...(check.expect === undefined
              ? []
              : inWords(['checks', index, 'expect'], [check.expect]).map((problem) => ({
                  ...problem,
                  path: ['checks', index, 'expect'],
                }))),
          ],
    ),
    ...inWords(['version'], declared.version ?? []),
  ];
}

function listenProblems({ values }: ManifestConfiguration, listen: string): string[] {
  return templateProblems(listen, knownNames({ values }))
    .map(({ message }) => message)
    .concat(
      slotsOf(listen).flatMap(({ name, offset }) => {
        const wanted = offset === 0 ? 'address' : 'port';
        const type = name === 'node.address' ? 'address' : (values[name]?.type ?? wanted);
        return type === wanted ? [] : [`"${name}" is of type ${type}, but here stands the ${wanted}`];
      }),
    );
}

function notThere(word: string, known: readonly string[], list: string): string {
  const close = nearest(word, known);
  return `"${word}" is not among the ${list} of this component${close === undefined ? '' : `; did you mean "${close}"?`}`;
}

function repeated(words: readonly string[]): number[] {
  return words.flatMap((word, index) => (words.indexOf(word) === index ? [] : [index]));
}

/** What a component is configured by: a renderer's name, or its own declaration. */
export const ComponentConfiguration = z.union(
  [Name, ManifestConfiguration],
  'must be the name of a renderer, or a declaration with files and units',
);
