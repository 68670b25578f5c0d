import { execa } from 'execa';
import { LabError } from '../errors.js';
import type { Outcome } from '../docker.js';
import type { Lab } from '../machines.js';
import { addSudo } from '../sudo.js';
import { carry, DESK, MEDIUM, proved } from './operator.js';
import type { PackedBundle } from './packager.js';

/** The machine from which the nodes are reached over SSH. */
export const JUMP = 'jump';
/** Who logs in to the nodes; becomes root there by sudo. */
export const LOGIN = 'ops';
const LIMIT_MS = 30 * 60_000;

/**
 * What administrators have done before an operator comes: sshd on the nodes with a host key of their own, a login that
 * may use sudo, a key for it, and the nodes' host keys known on the jump host.
 */
async function openSsh(lab: Lab): Promise<void> {
  const nodes = Object.values(lab.nodes);
  const publicKey = await must(
    lab,
    JUMP,
    [
      'umask 077; mkdir -p ~/.ssh',
      "ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519",
      `printf 'Host %s\\n  User ${LOGIN}\\n' '${nodes.map(({ name }) => name).join(' ')}' >~/.ssh/config`,
      'cat ~/.ssh/id_ed25519.pub',
    ].join('\n'),
  );
  const known: string[] = [];
  for (const { name, address } of nodes) {
    await addSudo(lab, name);
    const hostKey = await must(
      lab,
      name,
      [
        `useradd -m -s /bin/bash ${LOGIN}`,
        `install -d -m 700 -o ${LOGIN} ~${LOGIN}/.ssh`,
        `echo '${publicKey}' >~${LOGIN}/.ssh/authorized_keys`,
        `echo '${LOGIN} ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/${LOGIN}`,
        // The image's keys are the same on every machine.
        "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key",
        'systemctl restart ssh',
        'cut -d " " -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub',
      ].join('\n'),
    );
    known.push(`${name},${address} ${hostKey}`);
  }
  await must(lab, JUMP, `printf '%s\\n' ${known.map((line) => `'${line}'`).join(' ')} >~/.ssh/known_hosts`);
}

/** The nodes can be reached, and the medium, the key and the site are there; nothing of airbundle is. */
export async function carryToJump(lab: Lab, packed: PackedBundle, site: string): Promise<void> {
  await openSsh(lab);
  await carry(lab, JUMP, packed, site);
}

/** The first thing that is typed on a jump host, in the bundle's folder: the proof, then the tools. */
export const toolsChain = (packed: PackedBundle): string =>
  proved(
    packed,
    `sh install.sh --tools-only --key ${DESK}/packager.pub.pem --fingerprint ${packed.fingerprint}`,
  );

/** `airbundle deploy` as it is typed on the desk. */
export const deployOf = ({ stem }: Pick<PackedBundle, 'stem'>, extra = '-y'): string =>
  `airbundle deploy ${MEDIUM}/${stem} --site site.yaml ${extra}`;

/** Types text into root's shell on the desk of the jump host. */
export const typeOnJump = (lab: Lab, text: string): Promise<Outcome> =>
  lab.exec(JUMP, ['bash', '-c', `cd ${DESK} && ${text}`], { timeoutMs: LIMIT_MS });

/** The same with a person watching: its output appears as it comes. @returns the exit code */
export async function typeOnJumpLive(lab: Lab, text: string, folder = DESK): Promise<number> {
  const container = lab.jumpHosts[JUMP]?.container ?? JUMP;
  const done = await execa('docker', ['exec', container, 'bash', '-c', `cd ${folder} && ${text}`], {
    reject: false,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return done.exitCode;
}

async function must(lab: Lab, machine: string, text: string): Promise<string> {
  const done = await lab.exec(machine, ['bash', '-ec', text]);
  if (done.exitCode === 0) return done.stdout.trim();
  throw new LabError(
    `${machine} could not be prepared for SSH`,
    `${done.stdout}\n${done.stderr}`.slice(-4000),
  );
}
