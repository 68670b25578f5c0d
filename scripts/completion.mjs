// Shell completion from what the built commands say of themselves: docs/completion/{bundle.bash,_bundle}.
//   node scripts/completion.mjs            writes both (npm run build first)
//   node scripts/completion.mjs --check    exit 1 when they are not what would be written
//   --programs FOLDER                      the built programs; build/ otherwise
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './run.mjs';

const { values } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    programs: { type: 'string', default: join(root, 'build') },
  },
});

const PROGRAMS = ['cli.js', 'installer.cjs'];

/** What follows an option, by the word that its help shows: a file, a folder, a list, or nothing to offer. */
const VALUES = { file: 'file', folder: 'folder', prefix: 'file' };
const LISTS = {
  '--output': ['text', 'json'],
  '--log-format': ['text', 'json'],
  '--engine': ['docker', 'podman'],
};

/** Commands of both programs; one of the same name in both has the options of both. */
function commands() {
  const found = new Map();
  for (const program of PROGRAMS)
    for (const { name, text } of listed(
      help(program, []),
      /^ {2}([a-z][a-z-]*)(?: [[<].*?)?(?: {2,}(.*))?$/,
    )) {
      if (name === 'help') continue;
      const words = help(program, [name]);
      const entry = found.get(name) ?? { name, text, options: new Map(), argument: undefined, below: [] };
      // A command with commands of its own has the options of all of them.
      if (words.includes('Commands:'))
        entry.below = listed(words, /^ {2}([a-z][a-z-]*)(?: [[<].*?)?(?: {2,}(.*))?$/)
          .map((command) => command.name)
          .filter((one) => one !== 'help');
      const texts = [words, ...entry.below.map((one) => help(program, [name, one]))];
      for (const option of texts.flatMap(optionsOf)) entry.options.set(option.long, option);
      if (entry.below.length === 0)
        entry.argument ??=
          VALUES[/^Usage: \S+ \S+ \[options\] <(\w+)>/m.exec(words)?.[1] ?? ''] ?? argumentOf(words);
      found.set(name, entry);
    }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function argumentOf(words) {
  return /^Usage: \S+ \S+ \[options\] [<[]/m.test(words) ? 'file' : undefined;
}

function help(program, words) {
  return execFileSync(process.execPath, [join(values.programs, program), ...words, '--help'], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, COLUMNS: '1000' },
  });
}

/** Lines below "Commands:", with their wrapped text joined. */
function listed(words, pattern) {
  const lines = words.slice(words.indexOf('Commands:')).split('\n').slice(1);
  return lines.flatMap((line, index) => {
    const match = pattern.exec(line);
    if (match === null) return [];
    const more = [];
    for (let at = index + 1; /^ {10,}\S/.test(lines[at] ?? ''); at += 1) more.push(lines[at].trim());
    return [{ name: match[1], text: [match[2] ?? '', ...more].join(' ').trim() }];
  });
}

function optionsOf(words) {
  const start = words.indexOf('Options:');
  const lines = words.slice(start).split('\n').slice(1);
  const options = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') break;
    const match = /^ {2}(?:(-\w), )?(--[a-z-]+)(?: <(\S+)>)?(?: {2,}(.*))?$/.exec(line);
    if (match === null) continue;
    const more = [];
    for (let at = index + 1; /^ {10,}\S/.test(lines[at] ?? ''); at += 1) more.push(lines[at].trim());
    const [, short, long, value] = match;
    const text = [match[4] ?? '', ...more]
      .join(' ')
      .replace(/ \(default: .*\)$/, '')
      .trim();
    options.push({ short, long, value, text });
  }
  return options;
}

const HEAD = '# Made by scripts/completion.mjs from --help. Do not edit.';

function bash(all) {
  const names = all.map((command) => command.name).join(' ');
  const everything = all.flatMap((command) => [...command.options.values()]);
  const flags = (wanted) =>
    [...new Set(everything.filter(wanted).flatMap(({ short, long }) => (short ? [short, long] : [long])))]
      .sort()
      .join('|');
  const lists = Object.entries(LISTS).map(([long, words]) => {
    const short = everything.find((option) => option.long === long)?.short;
    return [short === undefined ? long : `${short}|${long}`, words.join(' ')];
  });
  const files = flags(({ long, value }) => !(long in LISTS) && VALUES[value] === 'file');
  // An option that takes a file in one command and a folder in another: file names hold the folders too.
  const folders = flags(
    ({ long, value }) => !(long in LISTS) && VALUES[value] === 'folder' && !files.split('|').includes(long),
  );
  const others = flags(({ long, value }) => value !== undefined && !(long in LISTS) && !(value in VALUES));
  return [
    '# shellcheck shell=bash disable=SC2207',
    HEAD,
    '# Install: cp docs/completion/bundle.bash /etc/bash_completion.d/bundle',
    '_airbundle() {',
    '  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-}',
    '  COMPREPLY=()',
    '  if ((COMP_CWORD == 1)); then',
    `    COMPREPLY=($(compgen -W '${names} --help --version' -- "$word"))`,
    '    return',
    '  fi',
    '  case $before in',
    ...lists.flatMap(([pattern, words]) => [
      `    ${pattern})`,
      `      COMPREPLY=($(compgen -W '${words}' -- "$word"))`,
      '      return',
      '      ;;',
    ]),
    ...(files === ''
      ? []
      : [`    ${files})`, '      COMPREPLY=($(compgen -f -- "$word"))', '      return', '      ;;']),
    ...(folders === ''
      ? []
      : [`    ${folders})`, '      COMPREPLY=($(compgen -d -- "$word"))', '      return', '      ;;']),
    ...(others === '' ? [] : [`    ${others}) return ;;`]),
    '  esac',
    '  case $word in',
    '    -*)',
    '      case $command in',
    ...all.flatMap(({ name, options }) => [
      `        ${name}) COMPREPLY=($(compgen -W '${[...options.values()].flatMap(({ short, long }) => (short ? [short, long] : [long])).join(' ')}' -- "$word")) ;;`,
    ]),
    '      esac',
    '      ;;',
    '    *)',
    '      case $command in',
    ...all
      .filter(({ below }) => below.length > 0)
      .map(
        ({ name, below }) => `        ${name}) COMPREPLY=($(compgen -W '${below.join(' ')}' -- "$word")) ;;`,
      ),
    ...['file', 'folder'].flatMap((kind) => {
      const takers = all.filter((command) => command.argument === kind).map((command) => command.name);
      return takers.length === 0
        ? []
        : [
            `        ${takers.join(' | ')}) COMPREPLY=($(compgen -${kind === 'file' ? 'f' : 'd'} -- "$word")) ;;`,
          ];
    }),
    '      esac',
    '      ;;',
    '  esac',
    '}',
    'complete -o filenames -F _airbundle bundle airbundle',
    '',
  ].join('\n');
}

function zsh(all) {
  const quote = (text) => text.replaceAll("'", "'\\''");
  const plain = (text) => quote(text.replace(/[[\]:]/g, (sign) => `\\${sign}`));
  const action = ({ long, value }) => {
    if (value === undefined) return '';
    if (long in LISTS) return `:${value}:(${LISTS[long].join(' ')})`;
    return `:${value}:${{ file: '_files', folder: '_files -/' }[VALUES[value]] ?? ''}`;
  };
  const spec = (option) => {
    const { short, long, text } = option;
    const names = short === undefined ? long : `{${short},${long}}`;
    const repeat = /can be repeated/.test(text) ? '*' : short === undefined ? '' : `(${short} ${long})`;
    const body = `[${plain(text)}]${quote(action(option))}`;
    return short === undefined ? `'${repeat}${long}${body}'` : `'${repeat}'${names}'${body}'`;
  };
  return [
    '#compdef bundle airbundle',
    HEAD,
    '# Install: a folder of $fpath, under the name _bundle',
    '_airbundle() {',
    '  local -a commands',
    '  commands=(',
    ...all.map(({ name, text }) => `    '${name}:${quote(text)}'`),
    '  )',
    '  if ((CURRENT == 2)); then',
    "    _describe 'command' commands",
    '    return',
    '  fi',
    '  local command=${words[2]}',
    '  shift words',
    '  ((CURRENT--))',
    '  case $command in',
    ...all.flatMap(({ name, options, argument, below }) => [
      `    ${name})`,
      '      _arguments \\',
      ...[...options.values()].map(
        (option, index, every) =>
          `        ${spec(option)}${index < every.length - 1 || argument !== undefined || below.length > 0 ? ' \\' : ''}`,
      ),
      ...(below.length === 0 ? [] : [`        '1:command:(${below.join(' ')})' '*:file:_files'`]),
      ...(argument === undefined
        ? []
        : [`        '1:${argument}:${argument === 'folder' ? '_files -/' : '_files'}'`]),
      '      ;;',
    ]),
    '  esac',
    '}',
    '_airbundle "$@"',
    '',
  ].join('\n');
}

const all = commands();
const files = { 'docs/completion/bundle.bash': bash(all), 'docs/completion/_bundle': zsh(all) };
let stale = 0;
for (const [file, text] of Object.entries(files)) {
  if (!values.check) writeFileSync(join(root, file), text);
  else if (readFileSync(join(root, file), 'utf8') !== text) {
    console.error(`${file} is out of date: node scripts/completion.mjs`);
    stale += 1;
  }
}
process.exitCode = stale === 0 ? 0 : 1;
