import type { Argv } from '../host/process.js';
import type { UploadResult } from './agent.js';
import type { Consignment } from './local-bundle.js';
import type { NodeState } from './remote-node.js';

/** The same for everybody who deploys this bundle: whoever comes second follows the first. */
export function runId({ stem }: Pick<Consignment, 'stem'>): string {
  return `install-${stem}`;
}

export interface InstallRun {
  readonly verb: 'install' | 'plan';
  /** The node's name in the site. */
  readonly node: string;
  readonly uploaded: UploadResult;
  readonly state: NodeState;
  readonly key: Consignment['key'];
  /** What the node's own installer is given besides. */
  readonly flags: readonly string[];
}

/** What the node runs; a node that trusts a key already verifies with that, and refuses another. */
export function installArgv({ verb, node, uploaded, state, key, flags }: InstallRun): Argv {
  return [
    ...(['/bin/sh', `${uploaded.folder}/install.sh`] as const),
    ...(verb === 'plan' ? ['plan', '-o', 'json'] : []),
    ...(state === 'installed' ? [] : ['--key', uploaded.key, '--fingerprint', key.fingerprint]),
    ...['--site', uploaded.site, '--node', node],
    ...(verb === 'plan' ? [] : ['-y']),
    ...flags,
  ];
}
