import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { GOLDEN_SITES, goldenFiles } from './golden.js';

/*
 * What representative sites become, word for word. `GOLDEN=write npx vitest run test/configure/golden.test.ts`
 * writes the files again: read the difference before it is committed, as somebody who runs these programs.
 * programs.docker.test.ts has the programs themselves read them.
 */

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name !== 'site.yaml' && statSync(path.join(folder, name)).isFile())
    .sort();
}

describe.each(GOLDEN_SITES)('the site $name', (golden) => {
  const { folder } = golden;
  const files = goldenFiles(golden);

  if (process.env['GOLDEN'] === 'write') {
    for (const name of filesBelow(folder)) rmSync(path.join(folder, name));
    for (const [name, content] of files) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), content);
    }
  }

  it('becomes the files that were reviewed, and no others', () => {
    expect(filesBelow(folder)).toEqual([...files.keys()].sort());
    for (const [name, content] of files)
      expect(content, name).toBe(readFileSync(path.join(folder, name), 'utf8'));
  });
});
