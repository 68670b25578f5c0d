import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { target } from '../../src/model/layout.js';
import type { BundledComponent } from '../../src/model/contents.js';
import type { MadeBundle } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import type { Operator, Packer } from './install-lab.js';
import { operator, packer } from './install-lab.js';

/*
 * The two ways to build, with the lab's real gcc and everything that it requires (glibc, bash, coreutils …):
 * the program is C, and the node has no compiler. It loads libatomic, which the node lacks.
 */

const HOLD = '/var/tmp/hold';
const HELD = `${target.buildRoot}${target.build}/hello/source/held`;
/** The build has begun, and waits until HELD is gone. */
const BUILDS = `test -e ${HELD} && pgrep -f '[b]uild.sh'`;
const C_SOURCE = {
  'hello.c': '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n',
  'build.sh':
    'while [ -e held ]; do sleep 0.1; done\nexec gcc -O2 -g -o hello hello.c -Wl,--no-as-needed "$@"\n',
};

/** --debug=j says whether make has found what it is to share its jobs by. */
const MAKEFILE = [
  '$(NAME):',
  "\tprintf '#!/bin/sh\\necho $(NAME)\\n' >$@",
  'install:',
  '\tmkdir -p $(DESTDIR)/usr/local/bin',
  '\tinstall -m 755 $(NAME) $(DESTDIR)/usr/local/bin/$(NAME)',
  '',
].join('\n');

const madeByMake = (name: string): Partial<BundledComponent> => ({
  name,
  build: [['make', '--debug=j', '-j', '{jobs}', `NAME=${name}`]],
  install: ['make', 'install', 'DESTDIR={destdir}', `NAME=${name}`],
  files: [`/usr/local/bin/${name}`],
});

describe('where a component is built', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  let made: MadeBundle;
  let held: MadeBundle;
  let undeclared: MadeBundle;
  let slow: MadeBundle;
  let two: MadeBundle;
  let before: string[];
  const digests: Record<string, string> = {};

  const out = async (text: string): Promise<string> => (await op.sh(text)).stdout.trim();
  const packages = async (): Promise<string[]> => (await out('rpm -qa --qf "%{NAME}\\n" | sort')).split('\n');
  const added = async (): Promise<string[]> => (await packages()).filter((name) => !before.includes(name));
  const leftovers = (): Promise<string> =>
    out(`ls -A ${target.build}; grep ${target.isolated} /proc/[0-9]*/mountinfo`);
  /** Processes of the users that builds run as. */
  const builders = (): Promise<string> => out("ps -eo uid=,args= | awk '$1 >= 47801 && $1 <= 47899'");
  const again = (folder: string, words = ''): Promise<Outcome> =>
    op.sh(`airbundle install ${folder} -y ${words}`, { timeoutMs: 300_000 });
  const first = (folder: string, words = ''): Promise<Outcome> => op.first(folder, `-y ${words}`);
  const begin = (folder: string, words: string): Promise<Outcome> =>
    op.sh(`setsid -w sh -c 'echo $$ >/run/group; cd ${folder} && exec sh install.sh ${words}'`, {
      timeoutMs: 300_000,
    });
  const until = async (text: string): Promise<void> => {
    for (let round = 0; round < 900; round += 1) {
      if ((await op.sh(text)).exitCode === 0) return;
      await sleep(100);
    }
    throw new Error(`never true: ${text}`);
  };
  const key = (): string => `--key /root/desk/key.pem --fingerprint ${pack.key.fingerprint} -y`;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    before = await packages();
    const compiler = await pack.labClosure('gcc', 'libatomic', 'libitm', 'coreutils');
    const runner = pack.rpm({ name: 'runner', requires: 'other' });
    const other = pack.rpm({ name: 'other' });
    const needed = [
      { name: 'gcc', needed: 'build' as const },
      { name: 'libatomic', needed: 'run' as const },
      { name: 'runner', needed: 'run' as const },
    ];
    const component = {
      packages: needed,
      build: [['sh', 'build.sh', '-latomic']],
      smoke: ['{destdir}/usr/local/bin/hello'],
    };
    const rpms = [...compiler, runner, other];
    made = await pack.pack({ rpms, source: C_SOURCE, component });
    held = await pack.pack({ rpms, source: { ...C_SOURCE, held: '' }, component });
    undeclared = await pack.pack({
      rpms,
      source: C_SOURCE,
      component: { ...component, build: [['sh', 'build.sh', '-latomic', '-litm']] },
    });
    two = await pack.pack({
      rpms: await pack.labClosure('make', 'coreutils'),
      source: { Makefile: MAKEFILE },
      component: { ...madeByMake('one'), packages: [{ name: 'make', needed: 'build' }] },
      contents: (contents) => ({
        ...contents,
        components: contents.components.flatMap((component) => [
          component,
          { ...component, ...madeByMake('two') },
        ]),
      }),
    });
    const tool = pack.rpm({
      name: 'slow',
      preun: `echo begun >/var/lib/slow.begun; while [ -e ${HOLD} ]; do sleep 0.1; done`,
    });
    slow = await pack.pack({
      rpms: [tool],
      component: { packages: [{ name: 'slow', needed: 'build' }] },
    });
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });
  beforeEach(async () => {
    const extra = await added();
    await op.sh(
      `rm -f ${HOLD}; ${extra.length === 0 ? 'true' : `rpm -e --nodeps --noscripts ${extra.join(' ')}`}`,
    );
    await op.reset();
    expect(await added()).toEqual([]);
  });

  describe('on the node, with its own packages', () => {
    it('erases the compiler afterwards; what the program loads stays; a second run changes nothing', async () => {
      const folder = await op.carry(made);
      const done = await first(folder);
      expect([done.exitCode, done.stderr]).toEqual([
        0,
        expect.stringContaining('erase what only the build needed'),
      ]);
      expect(done.stdout).toMatch(/ - gcc-\S+ {2}unless something that stays needs it/);
      expect(await added()).toEqual(['libatomic', 'other', 'runner']);
      expect(await out('hello && command -v gcc')).toBe('hello');
      digests['host'] = await out('sha256sum </usr/local/bin/hello');

      const state = await op.fingerprint();
      const second = await again(folder);
      expect([second.exitCode, second.stdout]).toEqual([0, expect.stringContaining('nothing was changed')]);
      expect(await op.fingerprint()).toBe(state);
      expect(await out('airbundle status')).toContain('all is well');
    });

    it('keeps a library that nobody declared, because the program loads it', async () => {
      const done = await first(await op.carry(undeclared));
      expect(done.exitCode).toBe(0);
      expect(await added()).toEqual(['libatomic', 'libitm', 'other', 'runner']);
      expect(await out('hello')).toBe('hello');
    });

    it('keeps everything with --keep-build-packages', async () => {
      const folder = await op.carry(made);
      expect((await first(folder, '--keep-build-packages')).exitCode).toBe(0);
      expect(await added()).toEqual(expect.arrayContaining(['binutils', 'gcc', 'libatomic']));
      const second = await again(folder);
      expect([second.exitCode, second.stdout]).toEqual([0, expect.stringContaining('nothing was changed')]);
      expect(await added()).toContain('gcc');
    });

    it('kill -9 while it erases: status says so, and the same command goes on', async () => {
      const folder = await op.carry(slow);
      await op.sh(`: >${HOLD}`);
      const running = begin(folder, key());
      await until('test -e /var/lib/slow.begun');
      await op.sh('kill -KILL -$(cat /run/group)');
      await running;
      expect(await out('airbundle status')).toContain(
        'erasing 1 RPMs that only the build needed was cut off',
      );
      await op.sh(`rm ${HOLD}`);
      await until('! rpm -q slow');
      const done = await again(folder);
      expect(done.exitCode).toBe(0);
      expect([await added(), await out('airbundle status')]).toEqual([
        [],
        expect.stringContaining('all is well'),
      ]);
    });
  });

  it.each(['host', 'isolated'])(
    'two makes that run at the same time get the pipe that they share their jobs by (%s)',
    async (way) => {
      const folder = await op.carry(two);
      // A run that was killed in the moment in which the pipe has a name leaves it.
      await op.sh(`install -d -m 711 ${target.state} ${target.build} && mkfifo ${target.build}/_slots`);
      const done = await first(folder, `--build ${way}`);
      expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
      expect(await out('one && two')).toBe('one\ntwo');
      for (const name of ['one', 'two']) {
        const log = await out(`cat ${target.log}/build-${name}.log`);
        expect(log).toContain('Jobserver client (fds 3,4)');
        // Neither that it is missing, nor that a number was forced on it.
        expect(log).not.toContain('warning');
      }
      expect(await leftovers()).toBe('');
    },
  );

  it('an uninstall ends the build that a killed run left on the node', async () => {
    const folder = await op.carry(held);
    const killed = begin(folder, `${key()} --build host`);
    await until(`test -e ${target.build}/hello/source/held && pgrep -f '[b]uild.sh'`);
    await op.sh('kill -KILL -$(cat /run/group)');
    await killed;
    expect(await builders()).not.toBe('');
    const gone = await op.sh(`cd ${folder} && sh install.sh uninstall --purge ${key()}`);
    expect([gone.exitCode, gone.stderr]).toEqual([0, expect.anything()]);
    expect([await added(), await builders(), await leftovers()]).toEqual([[], '', '']);
  });

  describe('in a root of its own', () => {
    it('gives the node the program and the packages that it lacks to run, nothing else', async () => {
      const folder = await op.carry(made);
      const done = await first(folder, '--build isolated');
      expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
      expect(done.stdout).toContain('in a root of its own (--build says so)');
      expect(await added()).toEqual(['libatomic', 'other', 'runner']);
      expect(await out('hello && command -v gcc')).toBe('hello');
      expect(await leftovers()).toBe('');
      digests['isolated'] = await out('sha256sum </usr/local/bin/hello');

      const state = await op.fingerprint();
      for (const words of ['', '--build isolated', '--build host']) {
        const second = await again(folder, words);
        expect([second.exitCode, second.stdout]).toEqual([0, expect.stringContaining('nothing was changed')]);
      }
      expect(await op.fingerprint()).toBe(state);
    });

    it('gives the same binary as on the node', () => {
      expect(digests['isolated']).toBe(digests['host']);
    });

    it('kill -9 while the root is filled and while it builds: nothing stays mounted, the rerun converges', async () => {
      const folder = await op.carry(held);
      const kill = async (running: Promise<Outcome>, when: string): Promise<void> => {
        await until(when);
        await op.sh('kill -KILL -$(cat /run/group)');
        await running;
        expect(await out(`grep ${target.isolated} /proc/self/mountinfo`)).toBe('');
      };
      const words = `${key()} --build isolated`;
      await kill(begin(folder, words), `test -d ${target.buildRoot}/usr/share`);
      await kill(begin(folder, words), BUILDS);
      // The build of the killed run is still at it, in its own namespace.
      expect(await leftovers()).toMatch(/mountinfo:.*_isolated\/root \/ /);

      const last = begin(folder, words);
      await until(`test "$(grep -c '"step-start","step":"build"' ${target.journal})" = 2 && ${BUILDS}`);
      await op.sh(`rm ${HELD}`);
      const done = await last;
      expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
      expect(await added()).toEqual(['libatomic', 'other', 'runner']);
      expect([await out('hello'), await leftovers()]).toEqual(['hello', '']);
    });

    it('a rollback ends the build that a killed run left, and removes its root', async () => {
      const folder = await op.carry(held);
      const killed = begin(folder, `${key()} --build isolated`);
      await until(BUILDS);
      await op.sh('kill -KILL -$(cat /run/group)');
      await killed;
      expect(await leftovers()).toMatch(/mountinfo:.*_isolated\/root \/ /);
      const back = await op.sh(`cd ${folder} && sh install.sh rollback ${key()}`);
      expect([back.exitCode, back.stderr]).toEqual([0, expect.anything()]);
      expect([await added(), await leftovers()]).toEqual([[], '']);
    });

    it('refuses before anything is moved when the node would lack a library, and names its package', async () => {
      const done = await first(await op.carry(undeclared), '--build isolated');
      expect([done.exitCode, done.stderr]).toEqual([
        6,
        expect.stringMatching(/LIBRARY_MISSING[^]*libitm\.so\.1, which is in libitm-/),
      ]);
      expect(await out('ls /usr/local/bin/hello; command -v airbundle')).toBe('');
      expect(await leftovers()).toBe('');
    });

    it('has no network, no setuid, no way to see the node from the build, and at most 4096 processes', async () => {
      const look = [
        'ls /sys/class/net 2>/dev/null; cat /proc/net/dev | tail -n +3 | cut -d: -f1',
        'id -u; id -G; ls /root/desk /media 2>&1; test -w / && echo writable',
        "grep -o ' / [^ ]*' /proc/self/mountinfo",
        "grep 'Max processes' /proc/self/limits",
      ].join('; ');
      const spy = await pack.pack({
        rpms: await pack.labClosure('gcc', 'coreutils', 'sed', 'grep'),
        component: {
          packages: [{ name: 'gcc', needed: 'build' }],
          build: [['sh', '-c', `{ ${look}; } >hello`]],
        },
      });
      expect((await first(await op.carry(spy), '--build isolated')).exitCode).toBe(0);
      const seen = await out('cat /usr/local/bin/hello');
      expect(seen).toMatch(/^\s*lo\n47801\n47801\n/);
      expect(seen).not.toContain('eth0');
      expect(seen).not.toContain('key.pem');
      expect(seen).not.toContain('writable');
      expect(seen).toMatch(/ \/ [^\n]*nosuid/);
      expect(seen).toMatch(/^Max processes +4096 +4096 /m);
    });
  });
});
