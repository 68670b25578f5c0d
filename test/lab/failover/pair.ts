import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../errors.js';
import type { Lab } from '../machines.js';
import { holdersOf } from '../vip-watch.js';
import { statusOf } from '../walk/operator.js';

const SETTLE_MS = 60_000;
const POLL_MS = 200;

/** Which node holds the VIP, and which could. */
export interface Roles {
  readonly active: string;
  readonly standby: string;
}

/** Runs a line of shell on a machine. @throws LabError with what it said */
export async function sh(lab: Lab, machine: string, text: string): Promise<string> {
  const done = await lab.exec(machine, ['sh', '-c', text]);
  if (done.exitCode === 0) return done.stdout.trim();
  throw new LabError(
    `exit ${String(done.exitCode)} on ${machine}: ${text}`,
    `${done.stdout}\n${done.stderr}`.slice(-4000),
  );
}

/** A controlled failover: keepalived on `from` says goodbye, and is started again as the standby. */
export async function handOver(lab: Lab, from: string, to: string): Promise<void> {
  await sh(lab, from, 'systemctl stop keepalived');
  await eventually(
    () => `${to} holds the VIP`,
    async () => (await holdersOf(lab)).join() === to,
  );
  await sh(lab, from, 'systemctl start keepalived');
}

/** @throws LabError unless exactly one node holds the VIP */
export async function roles(lab: Lab): Promise<Roles> {
  const holders = await holdersOf(lab);
  const standby = Object.keys(lab.nodes).find((name) => !holders.includes(name));
  const [active] = holders;
  if (holders.length === 1 && active !== undefined && standby !== undefined) return { active, standby };
  throw new LabError(
    `the VIP is held by ${holders.join(' and ') || 'nobody'}`,
    'airbundle status on each node',
  );
}

/** Waits until both nodes are well and one of them holds the VIP. */
export async function healthyPair(lab: Lab): Promise<Roles> {
  for (const node of Object.keys(lab.nodes)) await healthyNode(lab, node);
  await eventually(
    () => 'one node holds the VIP',
    async () => (await holdersOf(lab)).length === 1,
  );
  return roles(lab);
}

/** As the product sees it: services, backends, no problem. */
async function healthyNode(lab: Lab, node: string): Promise<void> {
  let found = '';
  await eventually(
    () => `${node} is well: ${found}`,
    async () => {
      const status = await statusOf(lab, node);
      const down = status.backends.filter((backend) => backend.status !== 'UP');
      found = [...status.problems, ...down.map(({ server, status: is }) => `${server} is ${is}`)].join('; ');
      return found === '' && (await checked(lab, node));
    },
  );
}

/** Keepalived has seen haproxy well for the two checks that it asks for. */
async function checked(lab: Lab, node: string): Promise<boolean> {
  const done = await lab.exec(node, ['/etc/keepalived/check-haproxy', '8404', node]);
  return done.exitCode === 0;
}

async function eventually(what: () => string, holds: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + SETTLE_MS;
  while (!(await holds())) {
    if (performance.now() > endMs)
      throw new LabError(`it never came to be that ${what()}`, `waited ${String(SETTLE_MS / 1000)} s`);
    await sleep(POLL_MS);
  }
}
