import { describe, expect, it } from 'vitest';
import { mountsBelow } from '../../src/install/build-root.js';
import { parseLibraries } from '../../src/install/libraries.js';
import { chooseWay, eraseCandidates, neededPackages } from '../../src/install/needed-packages.js';
import { NOTHING_UNSETTLED } from '../../src/install/unsettled.js';
import type { Plan, PlanRequest, PlanStep } from '../../src/install/plan.js';
import { makePlan, needsPayload } from '../../src/install/plan.js';
import { missingCapability } from '../../src/install/run-packages.js';
import { parseProvides } from '../../src/install/staged-provides.js';
import { formatNevra } from '../../src/model/nevra.js';
import { helloComponent } from './bundle.js';
import { nevra, planRequest, rpm, someContents, someFacts } from './facts.js';

const GCC = 'gcc-4.8.5-28.el7.x86_64';
const CPP = 'cpp-4.8.5-28.el7.x86_64';
const PCRE = 'pcre-8.32-17.el7.x86_64';
const GLIBC = 'glibc-2.17-222.el7.x86_64';

const contents = someContents({
  rpms: [rpm(GCC), rpm(CPP), rpm(PCRE), rpm(GLIBC)],
  components: [
    helloComponent({
      packages: [
        { name: 'gcc', needed: 'build' },
        { name: 'pcre', needed: 'run' },
      ],
    }),
  ],
});
const ids = (plan: Plan): string[] => plan.steps.map((step) => step.id);
const stepOf = <K extends PlanStep['kind']>(plan: Plan, kind: K): Extract<PlanStep, { kind: K }> => {
  const found = plan.steps.find((step): step is Extract<PlanStep, { kind: K }> => step.kind === kind);
  if (found === undefined) throw new Error(`no step ${kind}`);
  return found;
};
const names = (rpms: readonly { readonly nevra: Parameters<typeof formatNevra>[0] }[]): string[] =>
  rpms.map((one) => formatNevra(one.nevra));
const request = (given: Partial<PlanRequest> = {}): PlanRequest =>
  planRequest({ contents, facts: someFacts({ installed: [nevra(GLIBC)] }), ...given });

describe('where it builds', () => {
  it('is what the manifest says, or what the operator says instead', () => {
    expect(chooseWay({}, undefined)).toEqual({ way: 'host', because: 'manifest' });
    expect(chooseWay({ buildIn: 'isolated' }, undefined)).toEqual({ way: 'isolated', because: 'manifest' });
    expect(chooseWay({ buildIn: 'isolated' }, 'host')).toEqual({ way: 'host', because: 'flag' });
  });

  it('gives the node the compiler too where no package is called needed for the build alone, and says so', () => {
    const bare = someContents({
      rpms: [rpm(GCC), rpm(PCRE)],
      components: [helloComponent({ packages: ['gcc', 'pcre'] })],
    });
    const notes = (given: Partial<PlanRequest>): string =>
      makePlan(request({ build: { way: 'isolated', keepPackages: false }, ...given })).notes.join('\n');
    expect(notes({ contents: bare })).toContain('also what only the build needs');
    expect(notes({})).not.toContain('needed: build');
    expect(notes({ contents: bare, build: { way: 'host', keepPackages: false } })).toBe('');
  });

  it('stands in the plan, with who said so', () => {
    const plan = makePlan(request({ build: { way: 'isolated', keepPackages: false } }));
    expect(plan.build).toEqual({ way: 'isolated', because: 'flag' });
    expect(stepOf(plan, 'build').title).toContain('in a root of its own (--build says so)');
  });
});

describe('a build on the node', () => {
  it('installs all that is missing, and afterwards erases what no component needs when it runs', () => {
    const plan = makePlan(request());
    expect(ids(plan)).toEqual(['command', 'rpms', 'build', 'files', 'erase']);
    expect(names(stepOf(plan, 'rpms').missing)).toEqual([CPP, GCC, PCRE]);
    expect(stepOf(plan, 'erase').packages).toEqual([CPP, GCC]);
  });

  it('erases nothing with --keep-build-packages, nor for a bundle that tells no packages apart', () => {
    expect(ids(makePlan(request({ build: { way: undefined, keepPackages: true } })))).not.toContain('erase');
    const older = someContents({
      rpms: [rpm(GCC), rpm(CPP)],
      components: [helloComponent({ packages: ['gcc'] })],
    });
    expect(ids(makePlan(request({ contents: older })))).not.toContain('erase');
  });

  it('never erases what was there before', () => {
    const plan = makePlan(request({ facts: someFacts({ installed: [nevra(GCC), nevra(GLIBC)] }) }));
    expect(stepOf(plan, 'erase').packages).toEqual([CPP]);
  });

  it('erases what a killed run before it added', () => {
    const plan = makePlan(
      request({
        facts: someFacts({ installed: [nevra(GCC), nevra(CPP), nevra(PCRE), nevra(GLIBC)] }),
        addedBefore: [GCC, PCRE],
      }),
    );
    expect(ids(plan)).not.toContain('rpms');
    expect(stepOf(plan, 'erase').packages).toEqual([GCC]);
  });
});

describe('a build in a root of its own', () => {
  const isolated = request({
    build: { way: 'isolated', keepPackages: false },
    runPackages: new Set(['rpms/pcre-8.32-17.el7.x86_64.rpm']),
  });

  it('fills the root with everything and the node only with what rpm says that it lacks', () => {
    const plan = makePlan(isolated);
    expect(ids(plan)).toEqual(['command', 'root', 'build', 'rpms', 'files']);
    expect(names(stepOf(plan, 'root').rpms)).toEqual(names(contents.rpms));
    expect(names(stepOf(plan, 'rpms').missing)).toEqual([PCRE]);
    expect(names(plan.leftOut)).toEqual([GCC, CPP, GLIBC]);
    expect(needsPayload(plan)).toBe(true);
  });

  it('does not mind an older or newer package of the node that only the root replaces', () => {
    const installed = ['glibc-2.17-100.el7.x86_64', 'gcc-9.1-1.el7.x86_64', PCRE].map(nevra);
    const plan = makePlan({ ...isolated, runPackages: new Set(), facts: someFacts({ installed }) });
    expect([ids(plan), plan.refusals]).toEqual([['command', 'root', 'build', 'files'], []]);
  });

  it('still erases what a killed run of the other way added', () => {
    const installed = [GCC, CPP, PCRE, GLIBC].map(nevra);
    const plan = makePlan({ ...isolated, facts: someFacts({ installed }), addedBefore: [GCC, CPP] });
    expect(stepOf(plan, 'erase').packages).toEqual([CPP, GCC]);
  });

  it('installs again what a killed run began with, and still erases what only the build needed', () => {
    const installed = [GCC, PCRE, GLIBC].map(nevra);
    const plan = makePlan({
      ...isolated,
      runPackages: new Set(),
      facts: someFacts({ installed }),
      unsettled: { ...NOTHING_UNSETTLED, packages: new Set([GCC, PCRE]) },
      addedBefore: [GCC, PCRE],
    });
    expect(names(stepOf(plan, 'rpms').missing)).toEqual([GCC, PCRE]);
    expect(stepOf(plan, 'erase').packages).toEqual([GCC]);
  });

  it('needs room for the root', () => {
    const big = someContents({
      ...contents,
      members: contents.members.map((one) => ({
        ...one,
        sizeBytes: one.path.startsWith('rpms/') ? 1024 * 1024 : 0,
      })),
    });
    const plan = (way: 'host' | 'isolated'): Plan =>
      makePlan(
        request({
          contents: big,
          facts: someFacts({ installed: [nevra(GLIBC)], freeBytes: 310 * 1024 * 1024 }),
          build: { way, keepPackages: false },
        }),
      );
    expect(plan('host').refusals).toEqual([]);
    expect(plan('isolated').refusals).toEqual(['/var/lib/airbundle has 310 MiB free, 328 MiB are needed']);
  });
});

describe('when nothing is built', () => {
  const rpms = (given: Partial<{ absent: string[]; pending: string[] }>) => ({
    rpms: { before: 0, after: 0, installed: [], absent: [], pending: [], ...given },
  });

  it.each(['host', 'isolated'] as const)('packages that only the build needed are not missed (%s)', (way) => {
    const { wanted, leftOut } = neededPackages({
      contents,
      way,
      builds: false,
      runPackages: undefined,
      receipt: rpms({ absent: [CPP, GCC] }),
      unfinished: new Set(),
    });
    expect([names(wanted), names(leftOut)]).toEqual([
      [PCRE, GLIBC],
      [GCC, CPP],
    ]);
  });

  it('what a killed run was to erase is not installed again, also where it is only what another one requires', () => {
    const { wanted } = neededPackages({
      contents,
      way: 'host',
      builds: false,
      runPackages: undefined,
      receipt: rpms({ pending: [CPP, GCC] }),
      unfinished: new Set(),
    });
    expect(names(wanted)).toEqual([PCRE, GLIBC]);
  });

  it('goes on with erasing where a killed run stopped, also to write down what is gone by now', () => {
    const candidates = eraseCandidates({
      contents,
      keep: false,
      missing: [],
      needed: [],
      addedBefore: [],
      pending: [GCC, CPP],
      installed: [nevra(CPP)],
    });
    expect(candidates).toEqual([CPP, GCC]);
  });

  it('erases nothing more where packages are to be kept, and writes down what is gone by now', () => {
    const candidates = eraseCandidates({
      contents,
      keep: true,
      missing: [],
      needed: [],
      addedBefore: [],
      pending: [GCC, CPP],
      installed: [nevra(CPP)],
    });
    expect(candidates).toEqual([GCC]);
  });
});

describe('what tools say', () => {
  it('rpm: what is missing', () => {
    expect(missingCapability('libpcre.so.1()(64bit) is needed by hello-1-1.x86_64')).toBe(
      'libpcre.so.1()(64bit)',
    );
    expect(missingCapability('file /a from install of b-1-1 conflicts with file from c-1-1')).toBeUndefined();
  });

  it('rpm: which staged RPM provides a name, a library or a path', () => {
    const text = `R ${PCRE}\nP libpcre.so.1()(64bit)\nP pcre\nF /usr/bin/pcregrep\nR ${GCC}\nP gcc\nF /usr/bin/gcc\nF \n`;
    const providerOf = parseProvides(text, contents.rpms);
    expect(
      ['libpcre.so.1()(64bit)', '/usr/bin/gcc', 'pcre >= 8', 'perl'].map(
        (word) => providerOf(word)?.nevra.name,
      ),
    ).toEqual(['pcre', 'gcc', 'pcre', undefined]);
  });

  it('the loader: what it found, what it lacks, and versions that are too old', () => {
    const text = [
      '\tlinux-vdso.so.1 (0x00007f)',
      '\tlibpcre.so.1 => /lib64/libpcre.so.1 (0x00007f00)',
      '\tlibfoo.so.3 => not found',
      '\t/lib64/ld-linux-x86-64.so.2 (0x0000aa)',
      "/usr/local/bin/x: /lib64/libc.so.6: version `GLIBC_2.34' not found (required by /usr/local/bin/x)",
    ].join('\n');
    expect(parseLibraries(text)).toEqual({
      found: ['/lib64/libpcre.so.1', '/lib64/ld-linux-x86-64.so.2'],
      missing: ['libfoo.so.3', "version `GLIBC_2.34' not found (required by /usr/local/bin/x)"],
    });
  });

  it('mountinfo: what is mounted in a folder, the innermost first', () => {
    const text = [
      '20 1 0:1 / / rw - ext4 a rw',
      '21 20 0:2 / /b/root rw - ext4 a rw',
      '22 21 0:3 / /b/root/with\\040space rw - proc proc rw',
      '23 20 0:3 / /b/rootless rw - proc proc rw',
    ].join('\n');
    expect(mountsBelow(text, '/b/root')).toEqual(['/b/root/with space', '/b/root']);
  });
});
