import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../src/fleet/node-side.sh', import.meta.url));
const MODULE = fileURLToPath(new URL('../../src/fleet/node-side.ts', import.meta.url));

if (process.env['UPDATE_NODE_SIDE'] === '1') {
  const escaped = readFileSync(SCRIPT, 'utf8')
    .replace(/\\/g, '\\\\')
    .replace(/`/g, '\\`')
    .replace(/\$\{/g, '\\${');
  const before = readFileSync(MODULE, 'utf8').split('export const')[0] ?? '';
  writeFileSync(MODULE, `${before}export const NODE_SIDE = \`${escaped}\`;\n`);
}

describe('what a node is asked', () => {
  it('is the script that shellcheck reads, word for word', async () => {
    const { NODE_SIDE } = await import('../../src/fleet/node-side.js');
    expect(NODE_SIDE).toBe(readFileSync(SCRIPT, 'utf8'));
  });
});
