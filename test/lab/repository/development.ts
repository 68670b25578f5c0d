import type { RpmRecipe } from './recipe.js';

const SANITIZERS = '/lib(asan|lsan|tsan|ubsan)[._]|/liblto_plugin\\.la';

/** What a node lacks: the compiler, the headers, the autotools. Names are EL7's. */
export const DEVELOPMENT: readonly RpmRecipe[] = [
  {
    name: 'gcc',
    license: 'GPLv3+',
    debs: [
      'gcc-10',
      { deb: 'gcc', except: '^usr/bin/c(89|99)-gcc' },
      { deb: 'libgcc-10-dev', except: SANITIZERS },
      'libcc1-0',
    ],
    requires: ['glibc-devel', 'binutils'],
    links: { '/usr/bin/cc': 'gcc' },
  },
  { name: 'cpp', license: 'GPLv3+', debs: ['cpp-10', 'cpp'] },
  { name: 'libitm', license: 'GPLv3+ with exceptions', debs: ['libitm1'], ldconfig: true },
  { name: 'libatomic', license: 'GPLv3+ with exceptions', debs: ['libatomic1'], ldconfig: true },
  { name: 'libquadmath', license: 'GPLv3+ with exceptions', debs: ['libquadmath0'], ldconfig: true },
  { name: 'isl', license: 'MIT', debs: ['libisl23'] },
  { name: 'libmpc', license: 'LGPLv3+', debs: ['libmpc3'], ldconfig: true },
  {
    name: 'binutils',
    license: 'GPLv3+',
    debs: [
      'binutils',
      'binutils-x86-64-linux-gnu',
      'binutils-common',
      'libbinutils',
      'libctf0',
      'libctf-nobfd0',
    ],
  },
  { name: 'make', license: 'GPLv2+', epoch: 1, debs: ['make'] },
  { name: 'm4', license: 'GPLv3+', debs: ['m4'] },
  {
    name: 'perl-libs',
    license: 'GPL+ or Artistic',
    epoch: 4,
    debs: ['libperl5.32'],
  },
  {
    name: 'perl',
    license: 'GPL+ or Artistic',
    epoch: 4,
    exact: ['perl-libs'],
    debs: ['perl-base', 'perl', 'perl-modules-5.32'],
    provides: ['perl(Data::Dumper)', 'perl(File::Basename)', 'perl(Thread::Queue)', 'perl(threads)'],
  },
  {
    name: 'autoconf',
    license: 'GPLv2+',
    debs: ['autoconf'],
    arch: 'noarch',
    requires: ['perl(Data::Dumper)'],
  },
  {
    name: 'automake',
    license: 'GPLv2+',
    debs: ['automake', 'autotools-dev'],
    arch: 'noarch',
    requires: ['perl(Thread::Queue)', 'perl'],
    links: { '/usr/bin/automake': 'automake-1.16', '/usr/bin/aclocal': 'aclocal-1.16' },
  },
  {
    name: 'pkgconfig',
    license: 'GPLv2+',
    epoch: 1,
    debs: [{ deb: 'pkg-config', except: 'crosswrapper|dpkghook' }],
  },
  { name: 'kernel-headers', license: 'GPLv2', debs: ['linux-libc-dev'] },
  {
    name: 'glibc-headers',
    license: 'LGPLv2+ and GPLv2+',
    exact: ['glibc'],
    debs: [{ deb: 'libc6-dev', only: '^usr/include/' }],
    requires: ['kernel-headers'],
  },
  {
    name: 'glibc-devel',
    license: 'LGPLv2+ and GPLv2+',
    exact: ['glibc', 'glibc-headers'],
    debs: [
      { deb: 'libc6-dev', except: '^usr/include/' },
      'libcrypt-dev',
      { deb: 'libc-dev-bin', except: 'mtrace' },
    ],
  },
  {
    name: 'openssl-devel',
    license: 'OpenSSL',
    epoch: 1,
    exact: ['openssl-libs'],
    debs: ['libssl-dev'],
    requires: ['zlib-devel', 'pkgconfig'],
  },
  { name: 'zlib-devel', license: 'zlib and Boost', exact: ['zlib'], debs: ['zlib1g-dev'] },
  { name: 'pcre-devel', license: 'BSD', exact: ['pcre'], debs: ['libpcre3-dev'] },
  {
    name: 'systemd-devel',
    license: 'LGPLv2+',
    exact: ['systemd-libs', 'systemd'],
    debs: ['libsystemd-dev', 'libudev-dev'],
  },
  {
    name: 'libnl3-devel',
    license: 'LGPLv2',
    exact: ['libnl3'],
    requires: ['kernel-headers'],
    debs: ['libnl-3-dev', 'libnl-genl-3-dev', 'libnl-route-3-dev', 'libnl-nf-3-dev'],
  },
  { name: 'libmnl-devel', license: 'LGPLv2+', exact: ['libmnl'], debs: ['libmnl-dev'] },
  { name: 'libnftnl-devel', license: 'GPLv2+', exact: ['libnftnl'], debs: ['libnftnl-dev'] },
  { name: 'ipset-devel', license: 'GPLv2', exact: ['ipset-libs'], debs: ['libipset-dev'] },
  {
    name: 'iptables-devel',
    license: 'GPLv2',
    exact: ['iptables'],
    requires: ['pkgconfig'],
    debs: ['libxtables-dev', 'libip4tc-dev', 'libip6tc-dev', 'libiptc-dev'],
  },
];

/** Packages that a right collection leaves out: the wrong architecture, and one that nothing needs. */
export const DECOYS: readonly RpmRecipe[] = [
  {
    name: 'zlib',
    license: 'zlib and Boost',
    debs: [],
    version: '1.2.12-1',
    arch: 'i686',
    files: { '/usr/lib/libz-i686.txt': 'An i686 package that a collection for x86_64 leaves out.\n' },
  },
  {
    name: 'telnet',
    license: 'BSD',
    debs: [],
    version: '0.17-64',
    arch: 'x86_64',
    epoch: 1,
    files: { '/usr/share/telnet/README': 'A package that nothing requires.\n' },
  },
];
