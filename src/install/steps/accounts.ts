import type { SystemUser } from '../../configure/types.js';
import { stepError } from '../../errors.js';
import type { Host } from '../../host/host.js';
import { lastLines, outcome } from '../../host/process.js';
import type { MadeAccount } from '../journal.js';
import type { Facts } from '../probe.js';

type Groups = Pick<Facts, 'groups'>;

/** For the journal: the accounts that the step makes, and whether their groups come with them. */
export function accountsOf(users: readonly SystemUser[], { groups }: Groups): MadeAccount[] {
  return users.map(({ name }) => ({ name, ownGroup: !groups.has(name) }));
}

/** Pure: each once, as the first of the runs announced it: a run that was broken off before useradd announces it again. */
export function accountsTogether(
  before: readonly MadeAccount[],
  made: readonly MadeAccount[],
): readonly MadeAccount[] {
  const known = new Set(before.map(({ name }) => name));
  return [...before, ...made.filter(({ name }) => !known.has(name))];
}

export async function addAccounts(
  host: Host,
  users: readonly SystemUser[],
  { groups }: Groups,
): Promise<void> {
  for (const user of users) await addAccount(host, user, groups.has(user.name));
}

/** @param groupExists useradd's -U would then end with 9, as for an account that is there, and make none */
async function addAccount(
  host: Host,
  { name, home, shell }: SystemUser,
  groupExists: boolean,
): Promise<void> {
  const group = groupExists ? ['-g', name] : ['-U'];
  const result = await host.run(['useradd', '-r', '-M', ...group, '-d', home, '-s', shell, name]);
  if (result.exitCode === 0) return;
  throw stepError({
    code: 'ACCOUNT_FAILED',
    message: `useradd ${name} ${outcome(result)}`,
    where: 'step users',
    details: lastLines(result),
  });
}
