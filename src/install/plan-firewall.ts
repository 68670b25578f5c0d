import { describeOpening, firewalldCommands, iptablesCommands } from '../configure/index.js';
import type { Configuration, Opening } from '../configure/types.js';
import type { PlannedFirewall } from './plan-schema.js';
import type { FirewallState } from './probe.js';

/** Airbundle changes no firewall: what the operator has to do, in the words of the firewall that the node has. */
export function firewallOf(
  { firewall, firewallKind }: Pick<Configuration, 'firewall' | 'firewallKind'>,
  state: FirewallState,
): PlannedFirewall {
  const { commands, todo } = adviceFor(firewallKind, state);
  return {
    state,
    rules: firewall.map((opening) => ({
      rule: describeOpening(opening),
      commands: commands([opening]).map((argv) => [...argv]),
      todo,
    })),
  };
}

interface Advice {
  readonly commands: (openings: readonly Opening[]) => readonly (readonly string[])[];
  readonly todo: string;
}

const NO_COMMANDS = (): readonly (readonly string[])[] => [];

function adviceFor(kind: Configuration['firewallKind'], state: FirewallState): Advice {
  if (kind === 'none')
    return {
      commands: NO_COMMANDS,
      todo: 'the site says that this node has no firewall: only one in front of it counts',
    };
  const active = (['firewalld', 'iptables'] as const).find((name) => state[name] === 'active');
  const name = kind === 'auto' ? active : kind;
  if (name === undefined)
    return {
      commands: NO_COMMANDS,
      todo: 'no firewall service is active here: only a firewall in front of this node counts',
    };
  return {
    commands: name === 'firewalld' ? firewalldCommands : iptablesCommands,
    todo:
      state[name] === 'active'
        ? `${name} is active here: run these commands if the rule is not there yet`
        : `the site says ${name}, which is not active here: run these commands once it is`,
  };
}
