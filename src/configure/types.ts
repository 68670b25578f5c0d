/*
 * What rendering returns: data for an installer that knows nothing of the software.
 * Every list is in the order in which it must be worked through; the same site, node and secret
 * always give the same value. `{file}` in an argv stands for the file that is being tested.
 */

/** A program and its arguments; never a shell line. */
export type Argv = readonly [string, ...string[]];

/** Made by `useradd -r -M` with a group of the same name where it is missing; never changed, never removed by force. */
export interface SystemUser {
  readonly component: string;
  readonly name: string;
  readonly home: string;
  readonly shell: string;
}

export interface ConfiguredDirectory {
  readonly component: string;
  readonly path: string;
  readonly mode: number;
  readonly owner: string;
  readonly group: string;
  /** Belongs to the system too (/etc/sysctl.d): made when missing, otherwise left as it is and never removed. */
  readonly shared: boolean;
}

/** Run against the rendered file next to its final place, before it is swapped in. */
export interface Validation {
  /** Holds `{file}` once. Everything listed before this file must be in place already. */
  readonly argv: Argv;
  readonly okExits: readonly number[];
  readonly timeoutMs: number;
  /** What to do where the program does not exist on the node: the tested software's own program must. */
  readonly withoutProgram: 'fail' | 'skip';
}

export interface ConfiguredFile {
  readonly component: string;
  readonly path: string;
  readonly mode: number;
  readonly owner: string;
  readonly group: string;
  readonly content: string;
  /** Where an operator's own lines belong, for a person; absent: this program reads only its one file. */
  readonly additions?: string;
  /** The content must not be printed, logged or put into a plan: show its digest. */
  readonly secret: boolean;
  readonly validate?: Validation;
}

/** A command that makes the system take note of changed files; runs after all files, before any service. */
export interface Refresh {
  readonly component: string;
  readonly id: string;
  readonly argv: Argv;
  /** Runs when one of these files was written, removed or restored. */
  readonly files: readonly string[];
  readonly timeoutMs: number;
  /** `warn`: the rest works without it. */
  readonly onFailure: 'fail' | 'warn';
}

/** Enabled and started in list order; stopped in the reverse order. */
export interface ManagedService {
  readonly component: string;
  readonly unit: string;
  readonly unitFile: string;
  /** A change of these needs a restart; so does a change of the component's own binaries. */
  readonly restartOn: readonly string[];
  /** A change of these needs a reload only. Restart wins when both apply. */
  readonly reloadOn: readonly string[];
}

interface EveryCheck {
  readonly component: string;
  readonly id: string;
  /** How long the check may take to become true, all attempts together. */
  readonly timeoutMs: number;
}

/** The unit is active. */
export interface UnitCheck extends EveryCheck {
  readonly kind: 'unit';
  readonly unit: string;
}

/**
 * A local socket listens there (look at /proc/net/tcp or `ss -ltn`; do not connect: the address may
 * be a VIP that another node holds). `0.0.0.0` stands for every address.
 */
export interface ListenCheck extends EveryCheck {
  readonly kind: 'listen';
  readonly address: string;
  readonly port: number;
}

/** `send` on the unix socket; the judge of that name (judges.ts) says what the answer means. */
export interface SocketCheck extends EveryCheck {
  readonly kind: 'socket';
  readonly path: string;
  readonly send: string;
  readonly judge: string;
  /** What has to be in the answer, in the judge's own words. */
  readonly expected: readonly string[];
}

/** The command exits 0, and its stdout holds `expect` where given. */
export interface CommandCheck extends EveryCheck {
  readonly kind: 'command';
  readonly argv: Argv;
  readonly expect?: string;
}

export type Check = UnitCheck | ListenCheck | SocketCheck | CommandCheck;

/** What `status` shows beside the units. */
export interface StatusSources {
  /** First line of stdout or stderr (keepalived -v writes to stderr). */
  readonly versions: readonly { readonly component: string; readonly label: string; readonly argv: Argv }[];
  /** Who holds them: look for the address on the interface. */
  readonly vips: readonly {
    readonly name: string;
    readonly address: string;
    readonly prefixLength: number;
    readonly interface: string;
  }[];
  /** Asked for what is behind the services; the judge reads the answer. */
  readonly sockets: readonly { readonly path: string; readonly send: string; readonly judge: string }[];
}

/** What a firewall in front of or on the node must let in. Data: nothing here changes a firewall. */
export type Opening =
  | { readonly kind: 'tcp'; readonly address: string; readonly port: number; readonly why: string }
  | {
      /** A whole IP protocol, such as 112. */
      readonly kind: 'protocol';
      readonly number: number;
      /** Its name in /etc/protocols, lower case. */
      readonly name: string;
      readonly from: readonly string[];
      readonly why: string;
    };

/** What the site says that the node's firewall is; auto: whichever runs there. */
export type FirewallKind = 'auto' | 'firewalld' | 'iptables' | 'none';

/** An address that the node must have, as the site says. */
export interface OwnAddress {
  readonly address: string;
  readonly interface: string;
  /** Whose it is, for a person. */
  readonly what: string;
}

/** A file that somebody else puts on the node; without it a program refuses its configuration. */
export interface RequiredFile {
  readonly path: string;
  /** What it is, for a person. */
  readonly what: string;
}

export interface Configuration {
  readonly users: readonly SystemUser[];
  readonly directories: readonly ConfiguredDirectory[];
  readonly files: readonly ConfiguredFile[];
  readonly refreshes: readonly Refresh[];
  readonly services: readonly ManagedService[];
  readonly checks: readonly Check[];
  readonly status: StatusSources;
  readonly required: readonly RequiredFile[];
  readonly addresses: readonly OwnAddress[];
  readonly firewall: readonly Opening[];
  readonly firewallKind: FirewallKind;
}
