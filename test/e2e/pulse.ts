import type { SmallBundle } from '../install/bundle.js';

/*
 * A small HTTP service that runs on the bundle's own runtime: it reads its configuration again on a reload
 * and can test it. The second program wants another word in it, so that neither accepts the other's file.
 */

export const PORT = 7070;

interface Pulse {
  readonly version: string;
  readonly sequence: number;
  /** Which of the two programs. */
  readonly program: 1 | 2;
  readonly rate: number;
  readonly rpms?: SmallBundle['rpms'];
  /** A program that ends at once. */
  readonly broken?: boolean;
}

const WORD = { 1: 'every', 2: 'rate' } as const;

const program = (which: 1 | 2, broken: boolean): string =>
  [
    '#!/usr/libexec/airbundle/node',
    "const fs = require('fs');",
    'const read = (file) => {',
    `  const found = /^${WORD[which]} (\\d+)$/m.exec(fs.readFileSync(file, 'utf8'));`,
    `  if (found === null) { console.error('pulse: no ${WORD[which]}'); process.exit(1); }`,
    '  return found[1];',
    '};',
    "if (process.argv[2] === 'test') { read(process.argv[3]); process.exit(0); }",
    broken ? 'process.exit(1);' : '',
    "const file = '/etc/pulse/pulse.conf';",
    'let rate = read(file);',
    "process.on('SIGHUP', () => { rate = read(file); });",
    "process.on('SIGTERM', () => process.exit(0));",
    "const answer = (_, reply) => { reply.setHeader('Connection', 'close'); reply.end(`program " +
      String(which) +
      ' rate ${rate}\\n`); };',
    `require('http').createServer(answer).listen(${String(PORT)}, '127.0.0.1');`,
    '',
  ].join('\n');

/** What the packer makes a bundle of. */
export function pulse(given: Pulse): Partial<SmallBundle> {
  const text = program(given.program, given.broken === true);
  return {
    name: 'pulse',
    version: given.version,
    sequence: given.sequence,
    source: { 'pulse.js': text },
    ...(given.rpms === undefined ? {} : { rpms: given.rpms }),
    component: {
      name: 'pulse',
      version: String(given.program),
      build: [['true']],
      install: ['install', '-D', '-m', '755', 'pulse.js', '{destdir}/usr/local/sbin/pulse'],
      files: ['/usr/local/sbin/pulse'],
      source: {
        path: 'sources/pulse-000000000000.tar' as never,
        url: 'https://example.org/pulse.git',
        ref: `v${String(given.program)}`,
        commit: String(given.program).repeat(40) as never,
        tree: (given.broken === true ? 'b' : String(given.program)).repeat(40) as never,
      },
      configuration: {
        values: {},
        accounts: [{ name: 'pulse', home: '/nonexistent', shell: '/sbin/nologin' }],
        directories: [],
        files: [
          {
            path: '/etc/pulse/pulse.conf',
            mode: '0644',
            owner: 'root',
            content: `# {{notice}}\n${WORD[given.program]} ${String(given.rate)}\n`,
            validate: { command: ['/usr/local/sbin/pulse', 'test', '{file}'], okExits: [0] },
          },
        ],
        units: [
          {
            name: 'pulse.service',
            content: [
              '# {{notice}}',
              '[Unit]',
              'Description=pulse',
              '[Service]',
              'User=pulse',
              'ExecStart=/usr/local/sbin/pulse run',
              'ExecReload=/bin/kill -HUP $MAINPID',
              'Restart=always',
              '[Install]',
              'WantedBy=multi-user.target',
              '',
            ].join('\n'),
            reloadOn: ['/etc/pulse/pulse.conf'],
          },
        ],
        checks: [{ listen: `127.0.0.1:${String(PORT)}` }],
      },
    },
  };
}

/** Asks every 5 ms until /run/load.stop is there; then "asked N failed M" and what was answered. */
export const LOAD = [
  "const http = require('http');",
  "const fs = require('fs');",
  'let asked = 0, failed = 0;',
  'const answers = {};',
  'const ask = () => new Promise((done) => {',
  `  const request = http.get({ host: '127.0.0.1', port: ${String(PORT)}, agent: false, timeout: 3000 }, (reply) => {`,
  "    let text = '';",
  "    reply.on('data', (piece) => { text += piece; });",
  "    reply.on('end', () => { answers[text.trim()] = (answers[text.trim()] || 0) + 1; done(); });",
  "    reply.on('error', () => { failed += 1; done(); });",
  '  });',
  "  request.on('timeout', () => request.destroy(new Error('timeout')));",
  "  request.on('error', () => { failed += 1; done(); });",
  '});',
  '(async () => {',
  "  while (!fs.existsSync('/run/load.stop')) { asked += 1; await ask(); await new Promise((done) => setTimeout(done, 5)); }",
  '  console.log(JSON.stringify({ asked, failed, answers }));',
  '})();',
  '',
].join('\n');
