import type { ConfiguredDirectory, Refresh } from './types.js';

/* What every renderer makes the same way. */

export const root = { owner: 'root', group: 'root' } as const;
export const SYSTEMD = '/etc/systemd/system';

export function daemonReload(component: string, unitFile: string): Refresh {
  return {
    component,
    id: 'systemd',
    argv: ['systemctl', 'daemon-reload'],
    files: [unitFile],
    timeoutMs: 60_000,
    onFailure: 'fail',
  };
}

export function directory(component: string, at: string): ConfiguredDirectory {
  return { component, path: at, mode: 0o755, ...root, shared: false };
}

export function shared(component: string, at: string): ConfiguredDirectory {
  return { component, path: at, mode: 0o755, ...root, shared: true };
}

/** The folder of an operator's own additions: made, never emptied, and gone only when it is empty. */
export function additions(component: string, at: string): ConfiguredDirectory {
  return { ...directory(component, at), mode: 0o750 };
}
