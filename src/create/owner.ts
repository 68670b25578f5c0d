import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { ifThere } from './read-bounded.js';

/*
 * Whose is this container, or this temporary file? A process that was killed cannot clean up after
 * itself: the next run does it, and must not touch what a living one uses. So everything temporary
 * carries its owner: HOST-BOOT-PID-START, where HOST also tells pid namespaces apart (a shared cache or
 * engine), BOOT and START tell a pid from the same number used again.
 */

const OWNER = /[0-9a-f]{8}-[0-9a-f]{8}-[0-9]+-[0-9]+/;
const host = digest([hostname(), textOf('/etc/machine-id'), linkOf('/proc/self/ns/pid')]);
const boot = digest([textOf('/proc/sys/kernel/random/boot_id')]);

/** This process. */
export const owner = `${host}-${boot}-${String(process.pid)}-${startOf(process.pid) ?? '0'}`;

/** `dead`: nobody can still be using it. `unknown`: another machine's, or no owner at all. */
export type OwnerState = 'alive' | 'dead' | 'unknown';

export function ownerState(text: string): OwnerState {
  const found = OWNER.exec(text)?.[0];
  if (found === undefined) return 'unknown';
  const [itsHost, itsBoot, pid = '', start] = found.split('-');
  if (itsHost !== host) return 'unknown';
  if (itsBoot !== boot) return 'dead';
  if (!isRunning(Number(pid))) return 'dead';
  // Without /proc (macOS) a start is 0, and the pid alone decides.
  const running = startOf(Number(pid));
  return running === undefined || start === '0' || running === start ? 'alive' : 'dead';
}

/** A name for something temporary of this process. */
export function ownedName(what: string): string {
  return `${what}.${owner}.${randomBytes(6).toString('hex')}`;
}

/** Without an owner that can be asked, nobody writes a temporary file for a day. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;

/**
 * Removes what dead processes left in `folder`, among the names that begin with `prefix`.
 * @param alone true for a folder that holds nothing but our temporary files: there, what has no owner
 * that can be asked goes after a day
 */
export async function removeAbandoned(folder: string, prefix: string, alone = false): Promise<void> {
  for (const name of await readdir(folder).catch((): string[] => [])) {
    if (!name.startsWith(prefix)) continue;
    const file = path.join(folder, name);
    const state = ownerState(name);
    if (state === 'alive' || (state === 'unknown' && !(alone && (await isOld(file))))) continue;
    // Another user's leftovers may be theirs to remove: no matter.
    if (await restored(file).catch(() => true)) continue;
    await rm(file, { recursive: true, force: true }).catch(() => undefined);
  }
}

async function isOld(file: string): Promise<boolean> {
  const found = await stat(file).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS;
}

/** `.X.OWNER.RANDOM.old` is a bundle that was being replaced: it goes back when no new one took its place. */
async function restored(file: string): Promise<boolean> {
  const name = path.basename(file);
  const at = OWNER.exec(name)?.index ?? 0;
  if (!name.endsWith('.old') || at < 3) return false;
  const place = path.join(path.dirname(file), name.slice(1, at - 1));
  if ((await ifThere(stat(place))) !== undefined) return false;
  await rename(file, place);
  return true;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** When a process started, in clock ticks since boot: field 22 of proc(5)'s stat; the name before it may hold anything. */
function startOf(pid: number): string | undefined {
  const text = textOf(`/proc/${String(pid)}/stat`);
  return text === '' ? undefined : text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
}

function digest(parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 8);
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function linkOf(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return '';
  }
}
