import { describe, expect, it } from 'vitest';
import { judgeProxies, parseShowStat } from '../../src/configure/haproxy-stats.js';

/** haproxy 2.3.0's columns up to check_status, and one after it. */
const COLUMNS =
  '# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,last_chk,';

function row(proxy: string, server: string, status: string, check = '', lastCheck = ''): string {
  const fields = Array.from({ length: 38 }, () => '');
  [fields[0], fields[1], fields[17], fields[36], fields[37]] = [proxy, server, status, check, lastCheck];
  return `${fields.join(',')},`;
}

const answer = (...rows: string[]): string => `${[COLUMNS, ...rows].join('\n')}\n\n`;

describe('show stat', () => {
  it('becomes one row for each frontend, server and backend', () => {
    expect(
      parseShowStat(
        answer(
          row('tts', 'FRONTEND', 'OPEN'),
          row('tts', 'tts1', 'UP 1/2', '* L7TOUT'),
          row('tts', 'BACKEND', 'UP'),
        ),
      ),
    ).toEqual([
      { proxy: 'tts', server: 'FRONTEND', status: 'OPEN', check: '' },
      { proxy: 'tts', server: 'tts1', status: 'UP 1/2', check: '* L7TOUT' },
      { proxy: 'tts', server: 'BACKEND', status: 'UP', check: '' },
    ]);
  });

  it('may quote a field that holds a comma or a quote', () => {
    const [first] = parseShowStat(answer(row('"a,""b"', 'FRONTEND', 'OPEN')));
    expect(first).toMatchObject({ proxy: 'a,"b', server: 'FRONTEND', status: 'OPEN' });
  });

  it('is not read from anything else', () => {
    expect(() => parseShowStat('HTTP/1.0 200 OK\r\n\r\n')).toThrow(/no column names/);
    expect(() => parseShowStat('')).toThrow(/no column names/);
    expect(() => parseShowStat('# pxname,svname,qcur\n')).toThrow(/no column status/);
  });
});

describe('the verdict', () => {
  it('is a problem when a service is missing or stopped, a warning when a backend is down', () => {
    const rows = parseShowStat(
      answer(
        row('tts', 'FRONTEND', 'OPEN'),
        row('tts', 'tts1', 'DOWN', 'L4CON'),
        row('tts', 'tts2', 'no check'),
        row('stt', 'FRONTEND', 'STOP'),
        row('foreign', 'x', 'DOWN'),
      ),
    );
    expect(judgeProxies(rows, ['tts', 'stt', 'gone'])).toEqual({
      problems: ['service stt is STOP', 'service gone is not in the running haproxy'],
      warnings: ['backend tts/tts1 is DOWN (L4CON)'],
    });
  });
});
