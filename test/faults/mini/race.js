// Somebody who is not root, and swaps files, links and folders wherever he may write. Every swap that
// worked adds a byte to /opt/faults/races. Runs as the build's user (argument: DESTDIR) or as nobody.
const fs = require('fs');

const [, , destdir] = process.argv;
if (destdir === undefined && process.getuid() === 0) {
  process.setgid(65534);
  process.setuid(65534);
}
const LOOT = '/etc/shadow';
const NAMES = ['mini', '.mini.airbundle-new', 'mini-link', 'version', '.version.airbundle-new'];
const OURS = [
  '/usr/local/bin',
  '/usr/local/share/mini',
  '/etc/mini',
  '/etc/systemd/system',
  '/var/lib/airbundle/stage',
];
const EVERYWHERE = [
  '/tmp',
  '/var/tmp',
  '/dev/shm',
  '/run',
  '/var/lib/airbundle/build/mini',
  '/var/lib/airbundle/build/mini/source',
];
const places =
  destdir === undefined
    ? [...OURS, ...EVERYWHERE]
    : [
        `${destdir}/usr/local/bin`,
        `${destdir}/usr/local/share/mini`,
        `${destdir}/usr/local`,
        destdir,
        ...OURS,
        ...EVERYWHERE,
      ];

const attempt = (work) => {
  try {
    work();
    fs.appendFileSync('/opt/faults/races', 'x');
  } catch {
    // Not allowed, or not there: the next one.
  }
};
for (;;)
  for (const place of places)
    for (const name of NAMES) {
      const at = `${place}/${name}`;
      attempt(() => fs.symlinkSync(LOOT, `${at}.race`));
      attempt(() => fs.renameSync(`${at}.race`, at));
      attempt(() => fs.renameSync(place, `${place}.away`));
      attempt(() => fs.symlinkSync('/etc', place));
      attempt(() => fs.unlinkSync(place));
      attempt(() => fs.renameSync(`${place}.away`, place));
    }
