import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../src/errors.js';
import { FINDING_CODES } from '../../src/model/diagnosis.js';
import { pages, read, ROOT } from './support.js';

/*
 * Error codes are read out of the source's syntax tree: whatever stands behind `code:` in the object of an
 * error, or is handed to readDocument; and `fail EXIT CODE` in install.sh.
 */

const EXIT_OF: Readonly<Record<string, number>> = {
  usageError: EXIT.usage,
  invalidError: EXIT.invalid,
  untrustedError: EXIT.untrusted,
  refusedError: EXIT.refused,
  stepError: EXIT.stepFailed,
};

/**
 * Where the exit code on the screen is another than the factory's, or is decided at run time.
 * NO_ROOM and READ_ONLY are a refusal before the first step, and a failure in one (system-error.ts).
 */
const DECIDED_ELSEWHERE: Readonly<Record<string, readonly number[]>> = {
  NO_ROOM: [EXIT.refused, EXIT.stepFailed],
  READ_ONLY: [EXIT.refused, EXIT.stepFailed],
  INTERNAL: [EXIT.internal],
  RPMS_REFUSED: [EXIT.untrusted, EXIT.refused],
};
/** judge-rpms.ts: these are about the set, every other RPM_… is about trust. */
const ABOUT_THE_SET = ['RPM_ARCH', 'RPM_SOURCE', 'RPM_TWO_VERSIONS'];

/** Code → exit codes that the source gives it. */
function codesOfSource(): Map<string, Set<number>> {
  const found = new Map<string, Set<number>>();
  const add = (code: string, exit: number | undefined): void => {
    const exits = found.get(code) ?? new Set();
    if (exit !== undefined) exits.add(exit);
    found.set(code, exits);
  };
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((name) => name.endsWith('.ts'))) {
    const source = ts.createSourceFile(file, read(join('src', file)), ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node): void => {
      if (ts.isPropertyAssignment(node) && node.name.getText() === 'code')
        for (const code of literals(node.initializer)) add(code, exitOf(node));
      if (ts.isCallExpression(node) && node.expression.getText() === 'readDocument')
        for (const code of node.arguments.flatMap(literals)) add(code, EXIT.invalid);
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  for (const match of read('src/install/install.sh').matchAll(/\bfail (\d) ([A-Z_]+)/g))
    add(match[2] ?? '', Number(match[1]));
  return found;
}

const CODE = /^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$/;

function literals(node: ts.Expression): string[] {
  if (ts.isStringLiteral(node)) return CODE.test(node.text) ? [node.text] : [];
  return ts.isConditionalExpression(node) ? [...literals(node.whenTrue), ...literals(node.whenFalse)] : [];
}

/** The factory that the object goes to, directly or as problem(factory, facts, object) does. */
function exitOf(property: ts.PropertyAssignment): number | undefined {
  const call = property.parent.parent;
  if (!ts.isCallExpression(call)) return undefined;
  return EXIT_OF[call.expression.getText()] ?? EXIT_OF[call.arguments[0]?.getText() ?? ''];
}

/** The tables of errors.md: code → exits. */
function codesOfPage(): Map<string, number[]> {
  const rows = [
    ...read('docs/reference/errors.md').matchAll(/^\| `([A-Z0-9_]+)` \| ([0-9](?: or [0-9])*) \|/gm),
  ];
  return new Map(rows.map((row) => [row[1] ?? '', (row[2] ?? '').split(' or ').map(Number)]));
}

describe('the error codes', () => {
  const source = codesOfSource();
  const page = codesOfPage();

  it('of the source are all in docs/reference/errors.md, and no others', () => {
    expect(source.size).toBeGreaterThan(100);
    expect([...source.keys()].filter((code) => !page.has(code))).toEqual([]);
    expect([...page.keys()].filter((code) => !source.has(code))).toEqual([]);
  });

  it('stand there with the exit codes that the source gives them', () => {
    const wrong = [...source].flatMap(([code, given]) => {
      const shown = page.get(code) ?? [];
      const exits = DECIDED_ELSEWHERE[code] ?? (given.size > 0 ? [...given] : (rpmExit(code) ?? shown));
      return [...exits].sort().join() === [...shown].sort().join()
        ? []
        : [`${code}: ${shown.join(' or ')} on the page, ${exits.join(' or ')} in the source`];
    });
    expect(wrong).toEqual([]);
  });

  it('that any page mentions exist', () => {
    const named = pages().flatMap((name) =>
      [...read(name).matchAll(/`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`/g)].map((match) => match[1] ?? ''),
    );
    const others =
      /^(?:AIRBUNDLE_|O_|XDG_|LD_|NODE_|OPENSSL_|LI_O_|SOURCE_|DOCKER_|BUILD_UIDS|CLEAN_ENVIRONMENT|NO_COLOR|CONTAINER_HOST|SSH_AUTH_SOCK|GIT_(?:ALLOW_PROTOCOL|SSH_COMMAND|SSL_CAINFO)$)/;
    const findings = new Set<string>(FINDING_CODES);
    expect(
      [...new Set(named)].filter((code) => !source.has(code) && !findings.has(code) && !others.test(code)),
    ).toEqual([]);
  });

  it('of findings are in docs/reference/commands.md', () => {
    const page = read('docs/reference/commands.md');
    expect(FINDING_CODES.filter((code) => !page.includes(`\`${code}\``))).toEqual([]);
  });

  it('in the headings of the troubleshooting guide exist, and are the same in both languages', () => {
    const headings = (name: string): string[] =>
      [...read(name).matchAll(/^### (.*)$/gm)].flatMap(
        (match) => (match[1] ?? '').match(/[A-Z]+(?:_[A-Z]+)+|BUSY/g) ?? [],
      );
    const english = headings('docs/guides/troubleshooting.md');
    expect(english.length).toBeGreaterThan(15);
    expect(english.filter((code) => !source.has(code))).toEqual([]);
    expect(headings('docs/guides/troubleshooting.ko.md')).toEqual(english);
  });
});

/** What judge-rpms.ts says of one package gets its factory later; other unknown ones are taken as the page has them. */
function rpmExit(code: string): readonly number[] | undefined {
  if (!code.startsWith('RPM_') && code !== 'STORE_DAMAGED') return undefined;
  return [ABOUT_THE_SET.includes(code) ? EXIT.refused : EXIT.untrusted];
}

describe('the exit codes', () => {
  it.each(['docs/reference/exit-codes.md'])('of the source are the rows of %s', (name) => {
    const rows = [...read(name).matchAll(/^\| (\d) \| /gm)].map((match) => Number(match[1]));
    expect(rows).toEqual(Object.values(EXIT));
  });

  it('are all in both READMEs and in the man page', () => {
    const codes = Object.values(EXIT);
    for (const name of ['README.md', 'README.ko.md'])
      expect(read(name)).toContain(`| ${codes.join(' | ')} |`);
    const status = read('docs/man/bundle.1').split('.SH EXIT STATUS')[1]?.split('.SH')[0] ?? '';
    expect([...status.matchAll(/^\.B (\d)$/gm)].map((match) => Number(match[1]))).toEqual(codes);
  });

  it('are none of them a reserved one, and each that is a failure has its first thing to do', () => {
    for (const name of ['README.md', 'README.ko.md'])
      expect(read(name)).not.toMatch(/\| (?:reserved|예약) \|/);
    for (const name of ['docs/guides/troubleshooting.md', 'docs/guides/troubleshooting.ko.md'])
      for (const code of Object.values(EXIT).filter((one) => one !== EXIT.done))
        expect(read(name), name).toContain(`\n| ${String(code)} | `);
  });

  it('of a missing tool name the tools that install.sh asks for', () => {
    const [, tools = ''] = /^for tool in (.*); do$/m.exec(read('src/install/install.sh')) ?? [];
    const words = tools.split(' ');
    const row = `| \`TOOL_MISSING\` | 5 | ${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''} is missing |`;
    expect(read('docs/reference/errors.md')).toContain(row);
  });
});
