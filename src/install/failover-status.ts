import { timingSafeEqual } from 'node:crypto';
import type { FailoverFacts } from '../configure/failover-view.js';
import { FAILOVER_SOURCES, failoverView } from '../configure/failover-view.js';
import type { Host } from '../host/host.js';
import { proofOf } from '../host/secret-proof.js';
import type { SecretQuestion } from '../model/node-status.js';
import { readUnits } from './probe.js';

/** How addresses move between this node and others, and what would keep it from hearing them. */
export async function readFailover(
  host: Host,
  question: SecretQuestion | undefined,
): Promise<ReturnType<typeof failoverView>> {
  const { unit, firewallUnit, config } = FAILOVER_SOURCES;
  const [units, text, rules] = await Promise.all([
    readUnits(host, [unit, firewallUnit]),
    host.read(config),
    readRules(host),
  ]);
  const firewall = units.get(firewallUnit);
  return failoverView({
    active: units.get(unit)?.active ?? 'unknown',
    firewall: firewall === undefined || firewall.fragment === '' ? '' : firewall.active,
    config: text?.toString('utf8') ?? '',
    rules,
    compare: (secret) => (question === undefined ? 'not compared' : answer(secret, question)),
  });
}

async function readRules(host: Host): Promise<FailoverFacts['rules']> {
  const argv = FAILOVER_SOURCES.rules;
  const said = await host.run(argv, { timeoutMs: 10_000 });
  if (said.startError !== undefined) return { silent: `there is no ${argv[0]} here` };
  return said.exitCode === 0 ? { stdout: said.stdout } : { silent: `${argv.join(' ')} does not answer` };
}

function answer(secret: string, { salt, proof }: SecretQuestion): 'same' | 'different' {
  const own = Buffer.from(proofOf(secret, salt), 'hex');
  return timingSafeEqual(own, Buffer.from(proof, 'hex')) ? 'same' : 'different';
}
