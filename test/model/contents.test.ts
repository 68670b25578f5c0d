import { describe, expect, it } from 'vitest';
import { parseContents } from '../../src/model/contents.js';
import { helloComponent } from '../install/bundle.js';

const bundle = (component: Record<string, unknown>): string =>
  JSON.stringify({
    airbundle: 1,
    name: 'hello',
    version: '1.0',
    sequence: 1,
    description: '',
    target: { os: 'el7', arch: 'x86_64', releases: ['7.5'] },
    members: [],
    rpms: [],
    components: [{ ...helloComponent(), ...component }],
    collector: { image: 'x', contextSha256: null },
    runtime: { path: 'runtime/node', origin: 'npm:node', version: '16.20.2' },
  });

describe('bundle.json', () => {
  it('is read, also with a glob that only the build can judge', () => {
    expect(parseContents(bundle({ files: ['/etc/**'] }), 'X.tar').components).toHaveLength(1);
  });

  it.each([
    [{ files: ['/etc/airbundle/trust/zz.pem'] }, 'components.0.files.0'],
    [{ links: [{ path: '/usr/sbin/airbundle', to: '/opt/x' }] }, 'components.0.links.0.path'],
    [{ links: [{ path: '/opt/x', to: '/etc' }] }, 'components.0.links.0.to'],
  ])("is not trusted when it would write airbundle's own trust or program: %j", (component, place) => {
    try {
      parseContents(bundle(component), 'X.tar');
    } catch (error) {
      expect(error).toMatchObject({ code: 'BAD_CONTENTS', exit: 4 });
      expect((error as { details: string[] }).details[0]).toContain(`${place}: `);
      return;
    }
    throw new Error('it was taken');
  });
});
