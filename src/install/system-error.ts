import type { ExitCode } from '../errors.js';
import { BundleError } from '../errors.js';
import { target } from '../model/layout.js';

/** What the kernel's answers mean for the person who must act; %s stands for the path. */
const WORDS: Readonly<Record<string, { code: string; message: string; hint: string }>> = {
  ENOSPC: { code: 'NO_ROOM', message: 'the disk is full', hint: 'Make room (see: df -h; df -i)' },
  EDQUOT: { code: 'NO_ROOM', message: 'the disk quota is used up', hint: 'Make room (see: quota; df -h)' },
  EROFS: {
    code: 'READ_ONLY',
    message: 'the file system is read-only',
    hint: 'See: findmnt -O ro; dmesg | tail',
  },
  EACCES: {
    code: 'NO_ACCESS',
    message: 'access is denied',
    hint: 'See: namei -l %s; getenforce; lsattr -d %s',
  },
  EPERM: {
    code: 'NO_ACCESS',
    message: 'the system does not permit it',
    hint: 'Is it immutable? See: lsattr -d %s',
  },
  EMFILE: {
    code: 'TOO_MANY_OPEN_FILES',
    message: 'this process may not open as many files as it needs',
    hint: 'See: ulimit -n; raise it in this shell (ulimit -n 4096)',
  },
  EIO: { code: 'DISK_ERROR', message: 'the disk does not read or write', hint: 'See: dmesg | tail' },
};

/**
 * An error of the operating system (ENOSPC, EROFS …) as one that says where and what next. Anything else
 * comes back as it is: a bug in this program must look like one.
 */
export function systemError(error: unknown, where: string, exit: ExitCode): unknown {
  if (error instanceof BundleError || !(error instanceof Error)) return error;
  const { code, path } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) return error;
  const at = path ?? target.state;
  const known = WORDS[code] ?? { code: 'SYSTEM', message: `the system says ${code}`, hint: 'See: ls -ld %s' };
  return new BundleError({
    code: known.code,
    message: `${known.message}: ${error.message}`,
    where: path === undefined ? where : `${where}, ${path}`,
    hint: `${known.hint.replaceAll('%s', at)}, then run the same command again.`,
    exit,
    cause: error,
  });
}
