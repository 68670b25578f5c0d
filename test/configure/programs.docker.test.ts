import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Outcome } from '../lab/docker.js';
import type { Argv, Validation } from '../../src/configure/index.js';
import { contentOf, example, configured, siteOf, STATS_PASSWORD } from './fixtures.js';
import { GOLDEN_SITES, goldenConfiguration } from './golden.js';
import type { Programs } from './programs.js';
import { startPrograms } from './programs.js';

/*
 * Generated text, read by the real programs: those of Debian 11 (haproxy 2.2.9, keepalived 2.1.5), or those that
 * AIRBUNDLE_TEST_HAPROXY and AIRBUNDLE_TEST_KEEPALIVED name. Nothing in the text is replaced.
 */

const HAPROXY_CFG = '/etc/haproxy/haproxy.cfg';
const KEEPALIVED_CONF = '/etc/keepalived/keepalived.conf';
const NODES = GOLDEN_SITES.flatMap(({ name, site }) => site.nodes.map((node) => `${name}/${node.name}`));

let programs: Programs;

beforeAll(async () => {
  programs = await startPrograms();
});
afterAll(async () => {
  await programs.down();
});

/** As an installation has a file tested before it is swapped in. */
function validationOf(path: string): Validation {
  const site = GOLDEN_SITES.find(({ name }) => name === 'pair')?.site ?? siteOf(example('tts-pair'));
  const validate = goldenConfiguration(site, 'lb1').files.find((file) => file.path === path)?.validate;
  if (validate === undefined) throw new Error(`${path} is not tested`);
  return validate;
}

function tested(path: string, file = path): Promise<Outcome> {
  const [program, ...words] = validationOf(path).argv;
  const argv: Argv = [program, ...words.map((word) => word.replace('{file}', file))];
  return programs.run(argv);
}

const said = ({ stdout, stderr }: Outcome): string => stdout + stderr;

describe('every reviewed configuration', () => {
  it.each(NODES)(
    '%s is good for haproxy, without a warning, and for keepalived, without a word',
    async (folder) => {
      await programs.place(folder);
      const [haproxy, keepalived] = [await tested(HAPROXY_CFG), await tested(KEEPALIVED_CONF)];
      expect([haproxy.exitCode, said(haproxy)]).toEqual([0, expect.not.stringMatching(/WARNING|ALERT/)]);
      expect([keepalived.exitCode, said(keepalived)]).toEqual([0, '']);
    },
  );

  it('is good for rsyslog and logrotate, too', async () => {
    for (const path of ['/etc/rsyslog.d/30-airbundle-haproxy.conf', '/etc/logrotate.d/airbundle-haproxy']) {
      const outcome = await tested(path, `/golden/pair/lb1/${path.split('/').pop() ?? ''}`);
      expect([outcome.exitCode, said(outcome)]).toEqual([
        0,
        expect.not.stringMatching(/error: (?!error opening state file)/i),
      ]);
    }
  });
});

describe('the example with every key', () => {
  it('is good for both', async () => {
    const configuration = configured(siteOf(example('tts-full')));
    await programs.place('three-nodes/lb1');
    for (const path of [HAPROXY_CFG, KEEPALIVED_CONF]) {
      await programs.write(path, contentOf(configuration, path));
      const outcome = await tested(path);
      expect([outcome.exitCode, said(outcome)]).toEqual([0, expect.not.stringMatching(/WARNING|ALERT/)]);
    }
  });
});

describe('keepalived', () => {
  it('says of a check script that is missing that it does without', async () => {
    await programs.place('pair/lb1');
    await programs.sh('rm /etc/keepalived/check-haproxy');
    // Upstream's 2.1.5 exits 4 then; Debian's build of it says the same, and exits 0.
    expect(said(await tested(KEEPALIVED_CONF))).toContain('Disabling track script haproxy since not found');
  });
});

describe('local additions', () => {
  const HAPROXY_OWN = '/etc/haproxy/conf.d/10-own.cfg';
  const KEEPALIVED_OWN = '/etc/keepalived/conf.d/own.conf';
  const GOOD = {
    [HAPROXY_OWN]:
      'listen own\n    bind 127.0.0.1:9999\n    mode http\n    server own1 10.20.0.61:80 check\n',
    [KEEPALIVED_OWN]: 'vrrp_track_process own {\n    process rsyslogd\n}\n',
  };
  const BAD = {
    [HAPROXY_OWN]: 'listen own\n    bnd 127.0.0.1:9999\n',
    [KEEPALIVED_OWN]: 'vrrp_instanz own {\n}\n',
  };
  const PAIRS = [
    [HAPROXY_CFG, HAPROXY_OWN],
    [KEEPALIVED_CONF, KEEPALIVED_OWN],
  ] as const;

  it.each(PAIRS)(
    'are tested together with %s: a good one passes, a broken one is named',
    async (path, own) => {
      await programs.place('pair/lb1');
      try {
        await programs.write(own, GOOD[own]);
        expect(await tested(path)).toMatchObject({ exitCode: 0 });
        await programs.write(own, BAD[own]);
        const outcome = await tested(path);
        expect(outcome.exitCode).not.toBe(0);
        expect(said(outcome)).toContain(own.split('/').pop());
      } finally {
        await programs.sh(`rm ${own}`);
      }
    },
  );

  it.each(PAIRS)('need not be there for %s', async (path) => {
    await programs.place('pair/lb1');
    expect(await tested(path)).toMatchObject({ exitCode: 0 });
  });
});

/**
 * A gRPC server's health service, as far as a health check goes: SERVING. A stream of pieces, which ends when a file
 * is there. And a page for probes over HTTP/1.
 */
const BACKEND = `
const { existsSync } = require('fs');
const speak = (stream) => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  const pieces = setInterval(() => {
    if (!existsSync('/tmp/enough')) return stream.write(Buffer.from('0000000000', 'hex'));
    clearInterval(pieces);
    stream.end();
  }, 50);
  stream.on('close', () => clearInterval(pieces));
};
const server = require('http2').createServer();
server.on('stream', (stream, headers) => {
  stream.on('error', () => undefined);
  stream.on('end', () => {
    if (headers[':path'] === '/tts.v1.Speech/SynthesizeStream') return speak(stream);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.end(Buffer.from('00000000020801', 'hex'));
  });
  stream.resume();
});
server.listen(50051, '10.20.0.21');
require('http').createServer((request, answer) => {
  answer.writeHead(request.url === '/ready' ? 204 : 404).end();
}).listen(8081, '10.20.0.21');
`;

/** A client with one stream: what comes, each as a line of its own; pieces in a row are one line. */
const LISTEN = `
const session = require('http2').connect('http://10.20.0.10:50051');
const stream = session.request({
  ':method': 'POST', ':path': '/tts.v1.Speech/SynthesizeStream', 'content-type': 'application/grpc', te: 'trailers',
});
let last;
const say = (word) => {
  if (word !== last) console.log(word);
  last = word;
};
session.on('goaway', (code) => say('goaway ' + code));
session.on('error', (error) => say(error.message));
stream.on('data', () => say('piece'));
stream.on('trailers', (trailers) => say('status ' + trailers['grpc-status']));
stream.on('error', (error) => say(error.message));
stream.on('close', () => {
  say('closed');
  session.close();
});
stream.end(Buffer.from('0000000000', 'hex'));
`;

/** The stats page, asked with and without its password: two HTTP statuses. */
const ASK_PAGE = `
const https = require('https');
const ask = (auth) => new Promise((resolve, reject) => {
  https.get({ host: '10.20.0.11', port: 9443, path: '/', auth, rejectUnauthorized: false }, (answer) => {
    answer.resume().on('end', () => resolve(answer.statusCode));
  }).on('error', reject);
});
Promise.all([ask(), ask('operator:wrong'), ask('operator:${STATS_PASSWORD}')]).then((all) => console.log(all.join(' ')));
`;

async function until(what: string, text: string): Promise<void> {
  const end = performance.now() + 20_000;
  for (;;) {
    const { exitCode } = await programs.run(['bash', '-c', text]);
    if (exitCode === 0) return;
    if (performance.now() > end) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const HAPROXY = '/usr/local/sbin/haproxy -W -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d';
const ASK = (command: string): string => `exec 3<>/dev/tcp/127.0.0.1/8404; echo '${command}' >&3; cat <&3`;
const workerPid = async (): Promise<string> =>
  /^Pid: (\d+)$/m.exec(await programs.sh(ASK('show info')))?.[1] ?? 'none';
const CHECK = ['/etc/keepalived/check-haproxy', '8404', 'lb1'];

describe('running', () => {
  beforeAll(async () => {
    await programs.place('pair/lb1');
    await programs.sh('ip address add 10.20.0.21/32 dev lo; ip address add 10.20.0.11/32 dev lo');
    await programs.write('/tmp/backend.cjs', BACKEND);
    await programs.start('exec node /tmp/backend.cjs');
  });

  const stopped = async (): Promise<void> => {
    await programs.run(['pkill', '-x', 'haproxy']);
    await until('haproxy is gone', '! pgrep -x haproxy');
  };

  it.each(['pair/lb1', 'pair-tls/lb1'])(
    'haproxy with %s finds the backend up, and the check script sees a stopped worker',
    async (folder) => {
      await programs.place(folder);
      await programs.start(HAPROXY);
      try {
        await until('tts1 is up', `${ASK('show stat -1 4 -1')} | grep -q '^tts,tts1,.*,UP,'`);
        expect(await programs.run(CHECK)).toMatchObject({ exitCode: 0, stderr: '' });
        const worker = await workerPid();
        await programs.sh(`kill -STOP ${worker}`);
        expect((await programs.run(CHECK)).exitCode).toBe(1);
        await programs.sh(`kill -CONT ${worker}`);
        expect((await programs.run(CHECK)).exitCode).toBe(0);
        await programs.sh(`kill -KILL ${worker}`);
        await until('the master has gone with its worker', '! pgrep -x haproxy');
        expect((await programs.run(CHECK)).exitCode).toBe(1);
      } finally {
        await stopped();
      }
    },
  );

  /** @returns the old worker, whose listeners another one has now */
  const reloaded = async (): Promise<string> => {
    const worker = await workerPid();
    await programs.sh('pkill -USR2 -o -x haproxy');
    await until(
      'another worker answers',
      `${ASK('show info')} | grep '^Pid: ' | grep -qv '^Pid: ${worker}$'`,
    );
    return worker;
  };

  it('haproxy brings a stream to its end in the old worker after a reload', async () => {
    await programs.place('pair/lb1');
    await programs.write('/tmp/listen.cjs', LISTEN);
    await programs.sh('ip address add 10.20.0.10/32 dev lo; rm -f /tmp/enough');
    await programs.start(HAPROXY);
    try {
      await until('tts1 is up', `${ASK('show stat -1 4 -1')} | grep -q '^tts,tts1,.*,UP,'`);
      await programs.start('exec node /tmp/listen.cjs >/tmp/heard');
      await until('a piece came', 'grep -q piece /tmp/heard');
      const worker = await reloaded();
      await until('pieces come after GOAWAY', "grep -A1 goaway /tmp/heard | grep -q 'piece'");
      await programs.sh(`kill -0 ${worker}; touch /tmp/enough`);
      await until('the stream is over', 'grep -q closed /tmp/heard');
      const heard = (await programs.sh('cat /tmp/heard')).trim().split('\n');
      expect(heard).toEqual(['piece', 'goaway 0', 'piece', 'status 0', 'closed']);
    } finally {
      await programs.sh('ip address del 10.20.0.10/32 dev lo');
      await stopped();
    }
  });

  it('haproxy asks a page for probes over HTTP/1, though the service speaks HTTP/2', async () => {
    await programs.place('tcp-and-http/lb1');
    await programs.start(HAPROXY);
    try {
      await until(
        'tts1 is up',
        `${ASK('show stat -1 4 -1')} | grep '^probed,tts1,.*,UP,' | grep -q 'L7OK,204'`,
      );
    } finally {
      await stopped();
    }
  });

  it('haproxy shows its page to those who know the password, takes local additions, and does so after a reload', async () => {
    await programs.place('stats-page/lb1');
    await programs.write('/tmp/ask.cjs', ASK_PAGE);
    await programs.write(
      '/etc/haproxy/conf.d/10-own.cfg',
      'listen own\n    bind 127.0.0.1:9999\n    mode http\n',
    );
    await programs.start(HAPROXY);
    try {
      await until('haproxy answers', CHECK.join(' '));
      expect((await programs.sh('node /tmp/ask.cjs')).trim()).toBe('401 401 200');
      expect(await programs.sh(ASK('show stat -1 1 -1'))).toMatch(/^own,FRONTEND,.*OPEN/m);
      // Only root may read the file with the password: a reload is read by the master, which stays root.
      await reloaded();
      expect((await programs.sh('node /tmp/ask.cjs')).trim()).toBe('401 401 200');
    } finally {
      await programs.sh('rm /etc/haproxy/conf.d/10-own.cfg');
      await stopped();
    }
  });

  it('keepalived takes the VIP, calls the hook, and keeps the VIP over a reload with another head', async () => {
    await programs.place('hooks/lb1');
    await programs.start(HAPROXY);
    await until('haproxy answers', CHECK.join(' '));
    await programs.sh('ip address add 10.20.0.11/24 dev eth0; rm -f /tmp/states /tmp/seen');
    await programs.start('ip monitor address >/tmp/seen');
    await programs.start('exec keepalived --dont-fork --log-console --log-detail >/tmp/keepalived.log 2>&1');
    try {
      await until('the VIP is on eth0', 'ip -o address show dev eth0 | grep -q 10.20.0.10/24');
      await until('the hook was told', "grep -q 'INSTANCE tts MASTER 150' /tmp/states");
      await programs.sh(
        `sed -i '1s/SHA-256 [0-9a-f]*/SHA-256 ffffffffffffffff/' ${KEEPALIVED_CONF}; pkill -HUP -o -x keepalived`,
      );
      await until('it has reloaded', "grep -q 'Reloading' /tmp/keepalived.log");
      // As long as three adverts and more: were the state lost, the VIP would go and come within it.
      await new Promise((resolve) => setTimeout(resolve, 5000));
      expect(await programs.sh('cat /tmp/seen')).not.toMatch(/Deleted.*10\.20\.0\.10/);
      expect(await programs.sh('cat /tmp/states')).not.toMatch(/BACKUP[^]*MASTER[^]*BACKUP|FAULT/);
      expect(await programs.sh('ip -o address show dev eth0')).toContain('10.20.0.10/24');
    } finally {
      await programs.run(['pkill', '-x', 'keepalived']);
      await stopped();
    }
  });
});
