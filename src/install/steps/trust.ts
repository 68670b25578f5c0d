import { join } from 'node:path';
import type { Host } from '../../host/host.js';
import { target } from '../../model/layout.js';
import { placedText } from '../placed.js';
import type { TrustedKey } from '../trust.js';
import type { Changes } from '../undo.js';

export async function trustKey(host: Host, key: TrustedKey, changes: Changes): Promise<void> {
  await changes.makeDirectory(target.trust, { mode: 0o755 });
  const path = join(target.trust, `${key.keyId}.pem`);
  await changes.keep(path, placedText(key.pem));
  await host.writeDurable(path, key.pem, { mode: 0o644 });
}
