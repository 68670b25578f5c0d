import type { ConfiguredFile } from '../configure/types.js';

export interface Setting {
  readonly key: string;
  readonly value: string;
  /** The file that sets it. */
  readonly file: string;
}

/** The kernel settings in a rendered file of /etc/sysctl.d; none in any other file. Pure. */
export function settingsIn({ path, content }: Pick<ConfiguredFile, 'path' | 'content'>): Setting[] {
  if (!/^\/etc\/sysctl\.d\/[^/]+\.conf$/.test(path)) return [];
  return content.split('\n').flatMap((line) => {
    const [, key, value] = /^\s*-?([A-Za-z0-9_.-]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    return key === undefined || value === undefined ? [] : [{ key, value, file: path }];
  });
}

/** Where the kernel shows a setting. */
export function settingPath(key: string): string {
  return `/proc/sys/${key.replaceAll('.', '/')}`;
}
