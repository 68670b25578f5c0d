import type { BundleError } from '../errors.js';
import { refusedError } from '../errors.js';

/** How a command becomes root's on a node. */
export type Elevation =
  | { readonly kind: 'root' }
  | { readonly kind: 'sudo' }
  | { readonly kind: 'sudo-with-password'; readonly password: string };

/**
 * The words that stand before the command. With a password the time stamp of an earlier one does not count
 * (-k): sudo then always reads exactly one line, and the password never reaches the command.
 */
export function elevated(elevation: Elevation): string[] {
  switch (elevation.kind) {
    case 'root':
      return [];
    case 'sudo':
      return ['env', 'LC_ALL=C', 'sudo', '-k', '-n', '--'];
    case 'sudo-with-password':
      return ['env', 'LC_ALL=C', 'sudo', '-k', '-S', '-p', '', '--'];
  }
}

/** What sudo's words say about a try without a password. */
export function needsPassword(stderr: string): boolean {
  return /a password is required|no askpass|a terminal is required to read the password/.test(stderr);
}

export function isWrongPassword(stderr: string): boolean {
  return /try again|incorrect password|no password was provided|Authentication failure/i.test(stderr);
}

/** sudo's refusal, for the person who must act. */
export function sudoRefusal(where: string, user: string, stderr: string): BundleError {
  const refuse = (message: string, hint: string): BundleError =>
    refusedError({
      code: 'SUDO_REFUSED',
      message,
      where,
      details: stderr
        .split('\n')
        .filter((line) => line.trim() !== '')
        .slice(-5),
      hint: `Nothing was changed there. ${hint}`,
    });
  if (/sudo.{0,3}: (?:No such file|command not found|not found|Permission denied)/.test(stderr))
    return refuse(
      'there is no sudo on the node, or not for this login',
      `Log in as root: --user root. Or install it there: yum install sudo, with the rule ${user} ALL=(root) ALL`,
    );
  if (stderr.includes('must have a tty'))
    return refuse(
      'sudo wants a terminal there',
      `Write "Defaults:${user} !requiretty" into /etc/sudoers.d/airbundle, with visudo.`,
    );
  if (/not in the sudoers file|not allowed to (?:run|execute)|may not run sudo/.test(stderr))
    return refuse(
      `${user} may not become root with sudo`,
      `The rule that is needed: ${user} ALL=(root) ALL. Or log in as root: --user root`,
    );
  if (isWrongPassword(stderr))
    return refuse(`sudo did not take the password of ${user}`, 'Run the same command again.');
  if (needsPassword(stderr))
    return refuse(
      `sudo wants the password of ${user}, and there is no terminal to ask on`,
      `Run the command on a terminal, or allow it without: ${user} ALL=(root) NOPASSWD: ALL`,
    );
  return refuse(`${user} could not become root with sudo`, `Try there: sudo -l`);
}
