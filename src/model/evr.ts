/** Epoch, version and release: what rpm orders packages by. */
export interface Evr {
  readonly epoch: number;
  readonly version: string;
  readonly release: string;
}

/** Negative when a is older than b (rpm 4.11's rpmVersionCompare). */
export function compareEvr(a: Evr, b: Evr): number {
  return a.epoch - b.epoch || compareVersion(a.version, b.version) || compareVersion(a.release, b.release);
}

/**
 * rpm 4.11's rpmvercmp: runs of digits or letters are compared one by one, everything else only
 * separates, a run of digits is newer than one of letters, "~" is older than the end.
 * Source: lib/rpmvercmp.c of rpm 4.11.3. ("^" is younger than that: here it separates.)
 */
export function compareVersion(left: string, right: string): number {
  let a = left;
  let b = right;
  while (a !== '' || b !== '') {
    a = a.replace(/^[^A-Za-z0-9~]+/, '');
    b = b.replace(/^[^A-Za-z0-9~]+/, '');
    if (a.startsWith('~') || b.startsWith('~')) {
      if (!a.startsWith('~')) return 1;
      if (!b.startsWith('~')) return -1;
      a = a.slice(1);
      b = b.slice(1);
      continue;
    }
    if (a === '' || b === '') break;
    const digits = /^[0-9]/.test(a);
    const run = digits ? /^[0-9]*/ : /^[A-Za-z]*/;
    const one = run.exec(a)?.[0] ?? '';
    const two = run.exec(b)?.[0] ?? '';
    if (two === '') return digits ? 1 : -1;
    const order = digits ? compareDigits(one, two) : one < two ? -1 : one > two ? 1 : 0;
    if (order !== 0) return order;
    a = a.slice(one.length);
    b = b.slice(two.length);
  }
  if (a === b) return 0;
  return a === '' ? -1 : 1;
}

function compareDigits(a: string, b: string): number {
  const one = a.replace(/^0+/, '');
  const two = b.replace(/^0+/, '');
  return one.length - two.length || (one < two ? -1 : one > two ? 1 : 0);
}
