import { timingSafeEqual } from 'node:crypto';
import { path } from '../configure/paths.js';
import type { PacketVerdict } from '../configure/read-iptables.js';
import { judgeAdvert } from '../configure/read-iptables.js';
import type { WrittenInstance } from '../configure/read-keepalived.js';
import { readKeepalived } from '../configure/read-keepalived.js';
import type { Host } from '../host/host.js';
import { proofOf } from '../host/secret-proof.js';
import type { SecretQuestion, VrrpInstance, VrrpView } from '../model/node-status.js';
import { readUnits } from './probe.js';

const KEEPALIVED = 'keepalived.service';
const FIREWALLD = 'firewalld.service';

/** How VRRP is set and filtered on this node; the secret is compared and not told. */
export async function readVrrp(host: Host, question: SecretQuestion | undefined): Promise<VrrpView> {
  const [units, config] = await Promise.all([
    readUnits(host, [KEEPALIVED, FIREWALLD]),
    host.read(path.keepalivedConfig),
  ]);
  const written = readKeepalived(config?.toString('utf8') ?? '');
  const firewalld = units.get(FIREWALLD);
  return {
    keepalived: units.get(KEEPALIVED)?.active ?? 'unknown',
    instances: written.map((instance) => shown(instance, question)),
    protocol112: {
      ...(await judgeFilter(host, written)),
      firewalld: firewalld === undefined || firewalld.fragment === '' ? '' : firewalld.active,
    },
  };
}

function shown(instance: WrittenInstance, question: SecretQuestion | undefined): VrrpInstance {
  const { secret, peers, vips, ...rest } = instance;
  return {
    ...rest,
    mode: peers.length > 0 ? 'unicast' : 'multicast',
    peers: [...peers],
    vips: [...vips],
    secret: answer(secret, question),
  };
}

function answer(secret: string | null, question: SecretQuestion | undefined): VrrpInstance['secret'] {
  if (secret === null) return 'none';
  if (question === undefined) return 'not compared';
  const own = Buffer.from(proofOf(secret, question.salt), 'hex');
  return timingSafeEqual(own, Buffer.from(question.proof, 'hex')) ? 'same' : 'different';
}

async function judgeFilter(host: Host, written: readonly WrittenInstance[]): Promise<PacketVerdict> {
  const adverts = written.flatMap((instance) =>
    instance.peers.map((from) => ({ from, interface: instance.interface })),
  );
  const rules = await host.run(['iptables', '-S'], { timeoutMs: 10_000 });
  if (rules.startError !== undefined) return { state: 'unknown', because: 'there is no iptables here' };
  if (rules.exitCode !== 0) return { state: 'unknown', because: 'iptables -S does not answer' };
  const verdicts = adverts.map((advert) => judgeAdvert(rules.stdout, advert));
  return (
    verdicts.find(({ state }) => state === 'closed') ??
    verdicts.find(({ state }) => state === 'unknown') ??
    verdicts[0] ?? { state: 'unknown', because: 'no peer is named' }
  );
}
