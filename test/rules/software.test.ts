import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const SOURCE = fileURLToPath(new URL('../../src/', import.meta.url));

/** What carries any software; the knowledge of one lies in configure/ and model/site.ts. */
const GENERIC = ['create/', 'install/', 'host/', 'review/', 'installer.ts', 'cli.ts'];
const SOFTWARE = /haproxy|keepalived|vrrp|redis/i;

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter(
  (file) => GENERIC.some((room) => file.startsWith(room)) && /\.(?:ts|sh)$/.test(file),
);

/** Lines that name a software, with their place; a command's example may. */
function named(file: string, text: string): string[] {
  return text
    .split('\n')
    .map((line, index) => ({ line, place: `${file}:${String(index + 1)}` }))
    .filter(({ line }) => SOFTWARE.test(line) && !/Examples?:/.test(line))
    .map(({ line, place }) => `${place}: ${line.trim()}`);
}

it('create and install name no software, comments included', () => {
  expect(files.length).toBeGreaterThan(40);
  expect(files.flatMap((file) => named(file, readFileSync(join(SOURCE, file), 'utf8')))).toEqual([]);
});

it('a planted name is found', () => {
  expect(named('install/x.ts', 'const a = 1;\n// HAProxy needs this\n')).toEqual([
    'install/x.ts:2: // HAProxy needs this',
  ]);
  expect(named('cli.ts', "'\\nExample:\\n  bundle create manifests/redis.yaml'")).toEqual([]);
});
