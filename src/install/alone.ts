import type { BundleError } from '../errors.js';
import { EXIT, refusedError } from '../errors.js';
import type { Host, LockHolder } from '../host/host.js';
import { target } from '../model/layout.js';
import { requireModes, requirePrivatePlaces } from './places.js';
import type { Audit, Ended } from './audit.js';
import { systemError } from './system-error.js';

/**
 * Does `work` while no other airbundle changes this node.
 * @param audit keeps the record of it; absent: none is kept
 * @throws BundleError exit 5 when one does
 */
export async function alone<T extends Ended>(host: Host, work: () => Promise<T>, audit?: Audit): Promise<T> {
  await prepare(host).catch((error: unknown) => {
    throw systemError(error, 'preparing, before any change', EXIT.refused);
  });
  const lock = await host.lock(target.lock);
  if (lock === undefined) throw busy(await host.lockHolder(target.lock).catch(() => undefined));
  try {
    return await (audit === undefined ? work() : audit.around(work));
  } finally {
    await lock.release();
  }
}

async function prepare(host: Host): Promise<void> {
  await requirePrivatePlaces(host);
  await host.makeDirectory(target.state, { mode: 0o711 });
  for (const path of [target.stage, target.backup, target.log])
    await host.makeDirectory(path, { mode: 0o700 });
  await host.makeDirectory(target.build, { mode: 0o711 });
  await requireModes(host);
}

/** The lock is another run's. */
function busy(holder: LockHolder | undefined): BundleError {
  const look = holder === undefined ? `lslocks | grep ${target.lock}` : `ps -fp ${String(holder.pid)}`;
  return refusedError({
    code: 'BUSY',
    message: `another airbundle is at work on this node${holder === undefined ? '' : `: process ${String(holder.pid)}, since ${holder.since.toISOString()}`}`,
    where: target.lock,
    details: holder === undefined ? [] : [holder.command],
    hint: `Wait for it to end, then run the same command again. See: ${look}`,
  });
}
