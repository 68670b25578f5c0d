import { describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import type { InstallInputs } from '../../src/install/resume.js';
import { planFlags, requireSameRun } from '../../src/install/resume.js';
import type { Unsettled } from '../../src/install/unsettled.js';
import { NOTHING_UNSETTLED } from '../../src/install/unsettled.js';
import { target } from '../../src/model/layout.js';
import { rootedHost } from '../host/rooted.js';
import { sha256Of } from './bundle.js';

const none: InstallInputs['allow'] = { upgrade: false, protectedNames: [], conflicts: [], takeOver: false };
const manifestsWay = { way: undefined, keepPackages: false };
const given: InstallInputs = {
  digest: 'd1',
  site: '/site.yaml',
  node: 'lb1',
  allow: none,
  build: manifestsWay,
};
const begun: Unsettled = {
  ...NOTHING_UNSETTLED,
  begun: {
    run: 'r1',
    kind: 'install',
    digest: 'd1',
    bundle: 'tts-ha 1.0.0',
    node: 'lb1',
    siteDigest: sha256Of('site'),
    flags: [],
  },
};
const host = () => {
  const made = rootedHost();
  made.put('/site.yaml', 'site');
  made.put('/other.yaml', 'other');
  made.put(target.command, '');
  return made;
};
const refusal = async (open: Unsettled, inputs: InstallInputs, on = host()): Promise<BundleError> => {
  try {
    await requireSameRun(on, open, inputs);
  } catch (error) {
    if (error instanceof BundleError) return error;
    throw error;
  }
  throw new Error('it was not refused');
};

describe('an unfinished run', () => {
  it('is gone on with by the same bundle, site, node and flags', async () => {
    await requireSameRun(host(), begun, given);
    await requireSameRun(host(), NOTHING_UNSETTLED, { ...given, digest: 'another' });
  });

  it('is not gone on with by anything else: each difference is named, with both ways out', async () => {
    const refused = await refusal(begun, {
      digest: 'd2',
      site: '/other.yaml',
      node: 'lb2',
      allow: { ...none, upgrade: true },
      build: { way: 'isolated', keepPackages: false },
    });
    expect(refused).toMatchObject({ code: 'UNFINISHED_RUN', exit: 5, where: 'run r1' });
    expect(refused.details).toEqual([
      'bundle digest: it was begun with d1, this is d2',
      `site file, SHA-256: it was begun with ${sha256Of('site')}, this is ${sha256Of('other')}`,
      '--node: it was begun with lb1, this is lb2',
      '--allow-upgrade: it was begun without, this is with it',
      '--build isolated: it was begun without, this is with it',
    ]);
    expect(refused.hint).toContain('the command that began it, or take it back: airbundle rollback');
  });

  it('is taken back from the folder of the bundle where the command is not there yet', async () => {
    const bare = rootedHost();
    expect((await refusal(begun, given, bare)).hint).toContain('sh install.sh rollback --key FILE');
  });

  it('that takes something back is finished first', async () => {
    const open: Unsettled = {
      ...NOTHING_UNSETTLED,
      begun: { run: 'r2', kind: 'uninstall', digest: null, undoes: [], to: null },
    };
    expect((await refusal(open, given)).hint).toBe('Finish it first: airbundle uninstall');
  });

  it('has its flags in one order, however they were typed', () => {
    const allow = { ...none, protectedNames: ['rpm', 'glibc', 'rpm'], takeOver: true };
    expect(planFlags({ allow, build: { way: 'isolated', keepPackages: true } })).toEqual([
      '--allow-protected glibc',
      '--allow-protected rpm',
      '--take-over',
      '--build isolated',
      '--keep-build-packages',
    ]);
  });
});
