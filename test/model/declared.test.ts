import { describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import { parseManifest } from '../../src/model/manifest.js';
import { fillTemplate, templateProblems } from '../../src/model/template.js';
import { manifestText } from '../create/create-manifest.js';

const GOOD = `
      values: { port: { type: port, default: 80 }, key: { type: secret } }
      accounts: [{ name: web }]
      files:
        - { path: /etc/web.conf, template: web/web.conf, group: web, validate: { command: [/usr/bin/web, -t, '{file}'] } }
      units: [{ name: web.service, template: web/web.service, reloadOn: [/etc/web.conf] }]
      checks: [{ listen: '{{node.address}}:{{port}}' }, { command: [/usr/bin/ask, '{{port}}'] }]
`;

/** The problems of a manifest whose component declares this; lines are counted by what they say, not where. */
function problems(configuration: string): string[] {
  const text = `${manifestText()}    configuration: ${configuration}`;
  try {
    parseManifest(new TextEncoder().encode(text), 'm.yaml');
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    return error.details
      .filter((line) => line.startsWith('m.yaml:'))
      .map((line) => line.replace(/^m\.yaml:\d+:\d+: (?:components\.0\.configuration\.?)?/, ''));
  }
  return [];
}

const changed = (from: string, to: string): string[] => {
  expect(GOOD).toContain(from);
  return problems(GOOD.replace(from, to));
};

describe('a configuration in a manifest', () => {
  it('is the name of a renderer or a declaration', () => {
    expect(problems('haproxy\n')).toEqual([]);
    expect(problems(GOOD)).toEqual([]);
    expect(problems('HAProxy\n')[0]).toContain('must be lower-case letters');
  });

  it('names what is wrong inside of it, and what was meant', () => {
    expect(changed('template: web/web.conf', 'templat: web/web.conf')).toEqual([
      'files.0.template: is missing',
      'unknown key "templat"; did you mean "template"?',
    ]);
    expect(changed('{ type: port, default: 80 }', '{ type: prot }')[0]).toContain('must have a type: port');
    expect(changed('default: 80', 'default: 0')).toEqual([
      'values.port.default: must be a port from 1 to 65535',
    ]);
    expect(problems('{ values: { a: { type: integer, min: 1, max: 3, default: 4 } } }\n')).toEqual([
      'values.a.default: must be a whole number from 1 to 3',
    ]);
    expect(changed('group: web', 'group: wep')).toEqual([
      'files.0.group: "wep" is not among the accounts of this component; did you mean "web"?',
    ]);
    expect(changed('[/etc/web.conf]', '[/etc/wed.conf]')[0]).toContain('did you mean "/etc/web.conf"?');
    expect(changed("[/usr/bin/ask, '{{port}}']", "[/usr/bin/ask, '{{prot}}']")).toEqual([
      'checks.1.command.1: unknown value "prot"; did you mean "port"?',
    ]);
    expect(changed("'{{node.address}}:{{port}}'", "'{{port}}:{{port}}'")[0]).toContain(
      'is of type port, but here stands the address',
    );
  });

  it('keeps what would be dangerous out', () => {
    expect(changed("[/usr/bin/ask, '{{port}}']", "[/usr/bin/ask, '{{key}}']")[0]).toContain(
      'everybody on the node can read a command line',
    );
    expect(changed("[/usr/bin/ask, '{{port}}']", "[ask, '{{port}}']")[0]).toContain('absolute path');
    expect(changed('template: web/web.conf', 'template: ../web.conf')[0]).toContain('without ".."');
    expect(changed('path: /etc/web.conf', 'path: /etc/airbundle/trust/x.pem')[0]).toContain(
      "is airbundle's own place",
    );
    expect(changed('group: web,', "group: web, mode: '0666',")[0]).toContain('others may not write');
    expect(changed('name: web }]', 'name: root }]')[0]).toContain('leave root out');
    expect(changed("-t, '{file}'", '-t')[0]).toContain('must hold {file} in exactly one word');
    expect(changed('web.service, template', '../x.service, template')[0]).toContain('name of a service unit');
  });
});

describe('a template', () => {
  it('knows its slots and nothing else', () => {
    const known = ['port', 'node.name'];
    expect(templateProblems('a {{port}} {{ node.name }}\n', known)).toEqual([]);
    expect(templateProblems('{{prt}}', known)).toEqual([
      { message: 'unknown value "prt"; did you mean "port"?', offset: 0 },
    ]);
    expect(templateProblems('a\n{{port}\n}}', known).map((each) => each.offset)).toEqual([2, 10]);
  });

  it('is filled once: a value cannot bring another slot', () => {
    const values = new Map([
      ['a', '{{b}}'],
      ['b', 'secret'],
    ]);
    expect(fillTemplate('{{a}}', values)).toBe('{{b}}');
    expect(fillTemplate('{{a}}$&', new Map([['a', '$&$1']]))).toBe('$&$1$&');
    expect(() => fillTemplate('{{c}}', values)).toThrow(/no value/);
  });
});
