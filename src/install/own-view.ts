import type { Host } from '../host/host.js';
import type { NodeStatus } from '../model/node-status.js';
import type { ArpAnswer, OwnView } from '../model/own-view.js';
import { ownFindings } from '../model/own-view.js';

const ARPING_MS = 15_000;

/**
 * What one node can see of its site by itself: its own state, and by ARP whether another machine answers for
 * a VIP. It sends ARP probes (RFC 5227), which change nobody's tables.
 */
export async function readOwnView(host: Host, status: NodeStatus): Promise<OwnView> {
  const version = await host.run(['arping', '-V'], { timeoutMs: ARPING_MS });
  const isThere = `${version.stdout}${version.stderr}`.includes('iputils');
  const vips = await Promise.all(
    status.vips.map(async ({ name, address, interface: device, here }) => ({
      ...{ name, address, here },
      arp: isThere ? await probe(host, address, device) : ('not looked at' as const),
    })),
  );
  return { vips, findings: ownFindings(status, vips) };
}

/** `arping -D` of iputils: 0 when nobody answers, 1 when somebody does. */
async function probe(host: Host, address: string, device: string): Promise<ArpAnswer> {
  const done = await host.run(['arping', '-D', '-q', '-c', '2', '-w', '3', '-I', device, address], {
    timeoutMs: ARPING_MS,
  });
  if (done.exitCode === 0) return 'silent';
  return done.exitCode === 1 && done.stderr === '' ? 'answered' : 'not looked at';
}
