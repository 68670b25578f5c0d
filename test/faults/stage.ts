import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import type { Packer } from '../e2e/install-lab.js';
import { DESK, packer } from '../e2e/install-lab.js';
import type { MadeBundle } from '../install/bundle.js';
import { node16 } from '../lab/backend-image.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import type { Miniature } from './miniature.js';
import { ANSWER, miniature, SITE } from './miniature.js';
import type { Case, CaseResult } from './protocol.js';
import type { SceneName, Scenes } from './scenes.js';
import { OLD_RPMS, scenesOf } from './scenes.js';

const HOME = '/opt/faults';
/** A batch is one `docker exec`: small, so that nodes share the work and a time limit is kept. */
const BATCH = 4;
const BATCH_MS = 30 * 60_000;
/** Cases after the time is over, until one has fired. */
const MOST_LATE = 8;

export interface Stage {
  readonly lab: Lab;
  readonly nodes: readonly string[];
  readonly bundles: Miniature;
  readonly scenes: Scenes;
  readonly pack: Packer;
  /** @param deadline when to hand out no further case, in performance.now() */
  run(
    cases: readonly Case[],
    deadline: number,
    onResult: (result: CaseResult, given: Case) => void,
  ): Promise<void>;
  /**
   * The calls of an unbroken run, as shim.c counts them: "write /path".
   * @param inRpm those of the rpm that installs; of two such, the one that does more
   */
  calls(from: SceneName, variables?: Readonly<Record<string, string>>, inRpm?: boolean): Promise<string[]>;
  readonly sh: (node: string, text: string) => Promise<string>;
  down(): Promise<void>;
}

/** Nodes with the miniature's bundles on a medium, each brought to the states from which cases start. */
export async function raise(count: number): Promise<Stage> {
  const pack = await packer();
  const made: { lab?: Lab } = {};
  try {
    const bundles = await miniature(pack);
    const tools = await makeTools(pack.work);
    const nodes = Array.from({ length: count }, (_, index) => `mini${String(index + 1)}`);
    const lab = (made.lab = await startLab({ nodes }));
    const stage = stageOf(lab, nodes, pack, bundles);
    await Promise.all(nodes.map((node) => furnish(stage, node, tools)));
    return stage;
  } catch (error) {
    await made.lab?.down();
    pack.remove();
    throw error;
  }
}

interface Tools {
  readonly driver: string;
  readonly shim: string;
  readonly node: string;
}

async function makeTools(work: string): Promise<Tools> {
  const folder = path.join(work, 'tools');
  mkdirSync(folder);
  return { driver: await makeDriver(folder), shim: makeShim(folder), node: await node16() };
}

/** shim.c as a library for LD_PRELOAD, on any node: it needs no other library. @returns its path */
export function makeShim(folder: string): string {
  const shim = path.join(folder, 'shim.so');
  execFileSync('gcc', [
    ...['-shared', '-fPIC', '-O1', '-nostdlib', '-ffreestanding', '-fno-stack-protector', '-Wall', '-Werror'],
    ...['-o', shim, new URL('./shim.c', import.meta.url).pathname],
  ]);
  return shim;
}

/** The driver in one file, for the Node of a node. */
export async function makeDriver(folder: string): Promise<string> {
  const driver = path.join(folder, 'driver.cjs');
  await build({
    entryPoints: [new URL('./driver.ts', import.meta.url).pathname],
    outfile: driver,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node16',
    logLevel: 'error',
  });
  return driver;
}

function stageOf(lab: Lab, nodes: readonly string[], pack: Packer, bundles: Miniature): Stage {
  const sh = async (node: string, text: string): Promise<string> => {
    const done = await lab.exec(node, ['sh', '-c', text]);
    if (done.exitCode !== 0)
      throw new Error(`${node}: exit ${String(done.exitCode)}: ${text}\n${done.stdout}\n${done.stderr}`);
    return done.stdout;
  };
  const scenes = scenesOf(bundles, pack.key.fingerprint);
  const batch = async (node: string, cases: readonly Case[]): Promise<CaseResult[]> => {
    const done = await lab.exec(node, [`${HOME}/node`, `${HOME}/driver.cjs`, 'run'], {
      input: JSON.stringify(cases),
      timeoutMs: BATCH_MS,
    });
    const results = done.stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as CaseResult);
    if (results.length !== cases.length)
      throw new Error(
        `the driver on ${node} answered ${String(results.length)} of ${String(cases.length)} cases\n${done.stderr}`,
      );
    return results;
  };
  const counted = new Map<string, Promise<string[]>>();
  const count = async (
    from: string,
    command: string,
    variables: Readonly<Record<string, string>>,
    inRpm: boolean,
  ): Promise<string[]> => {
    const [node = ''] = nodes;
    const log = `${HOME}/calls`;
    await sh(node, `rm -f ${log}`);
    const faults = [{ shim: { FAULT_LOG: log, ...variables }, inRpm, standing: true }];
    const [result] = await batch(node, [{ id: 'count', from, command, then: 'true', end: from, faults }]);
    if (result?.attempts[0]?.exit !== 0)
      throw new Error(`the unbroken run could not be counted: ${JSON.stringify(result)}`);
    const lines = (await sh(node, `touch ${log}; cat ${log}`)).split('\n').filter(Boolean);
    // Threads and forks may write their line in another order than they were counted in.
    const found = lines
      .map((line) => /^(\d+) (.*)$/.exec(line))
      .sort((one, other) => Number(one?.[1]) - Number(other?.[1]));
    // Each rpm counts from 1.
    const longest = found.filter((line, index) => !inRpm || line?.[1] !== found[index - 1]?.[1]);
    return longest.map((line) => line?.[2] ?? '');
  };
  return {
    lab,
    nodes,
    bundles,
    scenes,
    pack,
    sh,
    async run(cases, deadline, onResult) {
      const waiting = [...cases];
      // On a busy machine the time may be over before it began: a group in which nothing was broken has shown nothing.
      let hasFired = false;
      let late = 0;
      const goesOn = (node: string): boolean => {
        if (waiting.length === 0) return false;
        if (performance.now() < deadline) return true;
        if (node !== nodes[0] || hasFired) return false;
        late += 1;
        return late <= MOST_LATE;
      };
      const work = async (node: string): Promise<void> => {
        while (goesOn(node)) {
          const share =
            performance.now() < deadline ? Math.min(BATCH, Math.ceil(waiting.length / nodes.length)) : 1;
          const mine = waiting.splice(0, Math.max(1, share));
          const results = await batch(node, mine);
          for (const [index, result] of results.entries()) {
            const given = mine[index];
            hasFired ||=
              result.attempts.length > 0 && result.attempts.every((one) => one.fired !== undefined);
            if (given !== undefined) onResult(result, given);
          }
          // A node that cannot be brought back fails at once, and would take all the cases that are left.
          if (results.every(({ error }) => error !== undefined)) return;
        }
      };
      await Promise.all(nodes.map(work));
    },
    calls(from, variables = {}, inRpm = false) {
      const { state, command } = scenes[from];
      // Scenes that begin with the same command, and groups with the same scene, share one count.
      const key = JSON.stringify([state, command, variables, inRpm]);
      const counting = counted.get(key) ?? count(state, command, variables, inRpm);
      counted.set(key, counting);
      return counting;
    },
    async down() {
      await lab.down();
      pack.remove();
    },
  };
}

async function furnish(stage: Stage, node: string, tools: Tools): Promise<void> {
  const { lab, sh, bundles, pack } = stage;
  const folder = (bundle: MadeBundle): Promise<void> => lab.copyIn(node, bundle.folder, '/media/usb');
  await sh(node, `mkdir -p ${HOME} /media/usb ${DESK}; chmod 755 ${HOME}; chmod 700 /media/usb ${DESK}`);
  await lab.copyIn(node, tools.node, `${HOME}/node`);
  await lab.copyIn(node, tools.driver, `${HOME}/driver.cjs`);
  await lab.copyIn(node, tools.shim, `${HOME}/shim.so`);
  for (const name of ['race.js', 'compiled.js'])
    await lab.copyIn(node, new URL(`./mini/${name}`, import.meta.url).pathname, `${HOME}/${name}`);
  await sh(node, `mkdir -m 700 ${OLD_RPMS}`);
  await lab.copyIn(node, bundles.oldRpm, OLD_RPMS);
  await folder(bundles.old);
  await folder(bundles.new);
  await sh(
    node,
    `chmod 755 ${HOME}/*; chown -R root:root ${HOME}/*; cat >${DESK}/key.pem <<'EOT'\n${pack.key.pem}EOT`,
  );
  await sh(node, `cat >${DESK}/site.yaml <<'EOT'\n${SITE}EOT`);
  // Each daemon-reload starts a dozen of them, and none has anything to do here.
  await sh(
    node,
    'mkdir -p /etc/systemd/system-generators; for one in /lib/systemd/system-generators/*; do ln -s /dev/null /etc/systemd/system-generators/"${one##*/}"; done',
  );
  // Somebody else's file, in a place that the bundle wants.
  await sh(
    node,
    'mkdir -p /usr/local/share/mini /usr/local/bin; echo by hand >/usr/local/share/mini/version; chmod 640 /usr/local/share/mini/version; chown 5:6 /usr/local/share/mini/version',
  );
  const driver = (words: string): Promise<string> => sh(node, `${HOME}/node ${HOME}/driver.cjs ${words}`);
  const { first, fresh, old, rollback, uninstall } = scenesOf(bundles, pack.key.fingerprint);
  await driver(`keep ${fresh.state}`);
  await sh(node, `touch ${HOME}/compiles; ${fresh.command}`);
  await sh(node, `rm ${HOME}/compiles; [ -s ${HOME}/compiled ]`);
  await settled(stage, node, ANSWER.new);
  await driver(`keep ${fresh.end}`);
  await driver(`reset ${fresh.state}`);
  await sh(node, first.command);
  await settled(stage, node, ANSWER.old);
  await driver(`keep ${first.end}`);
  await sh(node, old.command);
  await settled(stage, node, ANSWER.new);
  await driver(`keep ${old.end}`);
  await sh(node, rollback.command);
  await settled(stage, node, ANSWER.old);
  await driver(`keep ${rollback.end}`);
  await driver(`reset ${uninstall.state}`);
  await sh(node, uninstall.command);
  await driver(`keep ${uninstall.end}`);
}

async function settled({ sh }: Stage, node: string, answer: string): Promise<void> {
  const said = (await sh(node, '/usr/local/bin/mini ask')).trim();
  if (said !== answer) throw new Error(`${node}: the miniature says "${said}", not "${answer}"`);
}
