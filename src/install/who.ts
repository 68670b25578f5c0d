import type { Host } from '../host/host.js';
import type { Who } from '../model/run-receipt.js';

type Person = NonNullable<Who['login']>;

/** What the kernel says when nobody logged in. */
const NO_LOGIN = 4_294_967_295;
/** Nobody has more processes above. */
const MAX_ABOVE = 64;

/**
 * Who is at work. The program is started in an empty environment, so this asks the kernel: the login that
 * it remembers, the processes above this one and who owns the terminal.
 */
export async function whoIsIt(host: Host, uid: number): Promise<Who> {
  const person = async (id: number): Promise<Person> => ({ uid: id, name: await nameOf(host, id) });
  const loginUid = Number((await readText(host, '/proc/self/loginuid')) || NO_LOGIN);
  const above = await processesAbove(host);
  const other = above.find((one) => one.uid !== 0);
  const sudoUid = above.map((one) => one.sudoUid).find((one) => one !== undefined);
  const terminal = terminalOf(above[0]?.terminal ?? 0);
  const owner = terminal === undefined ? undefined : (await host.lstat(terminal))?.uid;
  return {
    uid,
    login: loginUid === NO_LOGIN ? null : await person(loginUid),
    above: other === undefined ? null : await person(other.uid),
    sudo: sudoUid === undefined ? null : await person(sudoUid),
    terminal:
      terminal === undefined || owner === undefined ? null : { path: terminal, owner: await person(owner) },
  };
}

interface ProcessAbove {
  /** Real user id. */
  readonly uid: number;
  readonly sudoUid: number | undefined;
  /** Device number of its controlling terminal; 0: none. */
  readonly terminal: number;
}

/** This process first. */
async function processesAbove(host: Host): Promise<ProcessAbove[]> {
  const found: ProcessAbove[] = [];
  let id = 'self';
  while (found.length < MAX_ABOVE) {
    const stat = await readText(host, `/proc/${id}/stat`);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [, parent, , , terminal] = fields;
    if (parent === undefined) break;
    const status = await readText(host, `/proc/${id}/status`);
    const environment = await readText(host, `/proc/${id}/environ`);
    const sudo = /(?:^|\0)SUDO_UID=(\d{1,10})(?:\0|$)/.exec(environment)?.[1];
    found.push({
      uid: Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? 0),
      sudoUid: sudo === undefined ? undefined : Number(sudo),
      terminal: Number(terminal),
    });
    if (parent === '0') break;
    id = parent;
  }
  return found;
}

/** Linux: major 136–143 are /dev/pts, 4 is a console or a serial line. */
function terminalOf(device: number): string | undefined {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  if (major >= 136 && major <= 143) return `/dev/pts/${String((major - 136) * 256 + minor)}`;
  if (major !== 4) return undefined;
  return minor < 64 ? `/dev/tty${String(minor)}` : `/dev/ttyS${String(minor - 64)}`;
}

async function nameOf(host: Host, uid: number): Promise<string | null> {
  const result = await host.run(['getent', 'passwd', String(uid)]);
  const name = result.stdout.split(':')[0] ?? '';
  return result.exitCode === 0 && name !== '' ? name : null;
}

/** '' when it cannot be read: a process may be gone, and /proc may hide it. */
async function readText(host: Host, path: string): Promise<string> {
  return (await host.read(path).catch(() => undefined))?.toString('utf8').trim() ?? '';
}
