/** One row of `show stat`. */
export interface ProxyRow {
  readonly proxy: string;
  /** FRONTEND, BACKEND or a server's name. */
  readonly server: string;
  /** OPEN, STOP, UP, DOWN, `UP 1/3`, MAINT, `no check`, … */
  readonly status: string;
  /** The last health check, `L7OK`, `L4CON`, … with `* ` before it while one runs; empty for proxies. */
  readonly check: string;
}

/**
 * `show stat` of haproxy 2.x: CSV whose first line names the columns.
 * @throws Error when the text is no such answer
 */
export function parseShowStat(text: string): ProxyRow[] {
  const [first = '', ...lines] = text.split('\n').filter((line) => line !== '');
  if (!first.startsWith('# pxname,svname,')) throw new Error('not an answer to "show stat": no column names');
  const columns = first.slice(2).split(',');
  const column = (name: string): number => {
    const index = columns.indexOf(name);
    if (index < 0) throw new Error(`not an answer to "show stat": no column ${name}`);
    return index;
  };
  const [proxy, server, status, check] = [
    column('pxname'),
    column('svname'),
    column('status'),
    column('check_status'),
  ];
  return lines.map((line) => {
    const fields = csvFields(line);
    return {
      proxy: fields[proxy] ?? '',
      server: fields[server] ?? '',
      status: fields[status] ?? '',
      check: fields[check] ?? '',
    };
  });
}

/** `show info`: its version, `2.3.21-…`; undefined when the text is no such answer. */
export function parseShowInfoVersion(text: string): string | undefined {
  return /^Version: (\S+)$/m.exec(text)?.[1];
}

export interface ProxyVerdict {
  /** Services that are missing or not open: the check fails. */
  readonly problems: readonly string[];
  /** Backends that are not up: shown, but the other side may simply not be running yet. */
  readonly warnings: readonly string[];
}

/** @param expected the names of a HaproxyCheck */
export function judgeProxies(rows: readonly ProxyRow[], expected: readonly string[]): ProxyVerdict {
  const problems = expected.flatMap((name) => {
    const frontend = rows.find((row) => row.proxy === name && row.server === 'FRONTEND');
    if (frontend === undefined) return [`service ${name} is not in the running haproxy`];
    return frontend.status === 'OPEN' || frontend.status === 'FULL'
      ? []
      : [`service ${name} is ${frontend.status}`];
  });
  const warnings = rows
    .filter((row) => expected.includes(row.proxy) && row.server !== 'FRONTEND' && row.server !== 'BACKEND')
    .filter((row) => !row.status.startsWith('UP') && row.status !== 'no check')
    .map(
      (row) =>
        `backend ${row.proxy}/${row.server} is ${row.status}${row.check === '' ? '' : ` (${row.check})`}`,
    );
  return { problems, warnings };
}

/** RFC 4180 fields of one line; haproxy quotes only fields that need it. */
function csvFields(line: string): string[] {
  const fields: string[] = [];
  const pattern = /("(?:[^"]|"")*"|[^,]*)(,|$)/gy;
  for (;;) {
    const match = pattern.exec(line);
    if (match === null) return fields;
    const [, field = '', end] = match;
    fields.push(field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field);
    if (end === '') return fields;
  }
}
