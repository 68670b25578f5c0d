import type { BackendRow, Judge, Verdict } from './judges.js';

/** One row of `show stat`; `server` may be FRONTEND or BACKEND too. */
export type ProxyRow = BackendRow;

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

/** @param expected the names of a SocketCheck */
export function judgeProxies(rows: readonly ProxyRow[], expected: readonly string[]): Verdict {
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

/** What a running haproxy says to `show stat`. */
export const HAPROXY_STATS: Judge = {
  verdict: (answer, expected) => judgeProxies(parseShowStat(answer), expected),
  backends: (answer) =>
    parseShowStat(answer)
      .filter((row) => row.server !== 'FRONTEND' && row.server !== 'BACKEND')
      .map((row) => ({ row, up: row.status.startsWith('UP') || row.status === 'no check' })),
};

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
