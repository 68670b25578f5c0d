#!/opt/faults/node
// The miniature's service: answers on a socket with its version and what its configuration said at its start.
const fs = require('fs');
const net = require('net');

const VERSION = '@VERSION@';
const SOCKET = '/run/mini.sock';
const every = (file) => /^every (\d+)$/m.exec(fs.readFileSync(file, 'utf8'))?.[1];

/** What a test wants of this version: nothing, or "die", "die-late", "silent". */
function mood() {
  try {
    const [version, word] = fs.readFileSync('/opt/faults/mood', 'utf8').trim().split(' ');
    return version === VERSION ? word : '';
  } catch {
    return '';
  }
}

const [word, file] = process.argv.slice(2);
if (word === '--version') console.log(`mini ${VERSION}`);
else if (word === '--test') {
  if (every(file) === undefined) {
    console.error(`mini: ${file} says nothing of "every"`);
    process.exit(1);
  }
} else if (word === 'ask') {
  const client = net.connect(SOCKET);
  client.setTimeout(1000, () => client.destroy(new Error('no answer')));
  client.on('error', (error) => {
    console.error(`mini: ${error.message}`);
    process.exitCode = 1;
  });
  client.pipe(process.stdout);
} else {
  if (mood() === 'die') {
    console.error('mini: told to die at once');
    process.exit(1);
  }
  if (mood() === 'die-late') setTimeout(() => process.exit(1), 5000);
  const answer = `mini ${VERSION} every ${every('/etc/mini/mini.conf')}\n`;
  if (mood() === 'silent') setInterval(() => undefined, 1000);
  else {
    fs.rmSync(SOCKET, { force: true });
    net.createServer((client) => client.on('error', () => undefined).end(answer)).listen(SOCKET);
  }
}
