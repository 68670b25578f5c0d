import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isIPv4, type AddressInfo } from 'node:net';
import path from 'node:path';
import { docker } from './docker.js';
import { LabError } from './errors.js';

export interface ServedFolder {
  /** `http://ADDRESS:PORT/`, reachable from this host and from containers on the default bridge. */
  readonly url: string;
  /** Paths asked for so far, in order. */
  readonly requests: readonly string[];
  close(): Promise<void>;
}

/** The default bridge's own address: this host, as a container sees it. */
export const bridgeAddress = async (): Promise<string> => {
  const config = '{{with index .IPAM.Config 0}}{{.Subnet}} {{.Gateway}}{{end}}';
  const out = await docker(['network', 'inspect', 'bridge', '--format', config]);
  const [subnet = '', gateway = ''] = out.trim().split(' ');
  if (isIPv4(gateway)) return gateway;
  // A gateway that nobody chose is the subnet's first address.
  const first = subnet.replace(/\.0\/\d+$/, '.1');
  if (isIPv4(first)) return first;
  throw new LabError(`docker's default bridge has no IPv4 address: ${out}`, 'docker network inspect bridge');
};

/** `bytes=FROM-TO` as inclusive offsets; undefined when it is not a range inside `sizeBytes`. */
const rangeOf = (header: string, sizeBytes: number): { start: number; end: number } | undefined => {
  const found = /^bytes=(\d*)-(\d*)$/.exec(header);
  const [, from = '', to = ''] = found ?? [];
  if (from === '' && to === '') return undefined;
  const start = from === '' ? Math.max(0, sizeBytes - Number(to)) : Number(from);
  const end = from === '' || to === '' ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  return start <= end ? { start, end } : undefined;
};

const fileOf = async (root: string, url: string): Promise<string | undefined> => {
  try {
    const wanted = decodeURIComponent(new URL(url, 'http://lab').pathname);
    if (wanted.includes('\0')) return undefined;
    const file = await realpath(path.join(root, wanted));
    return file.startsWith(`${root}${path.sep}`) && (await stat(file)).isFile() ? file : undefined;
  } catch {
    return undefined;
  }
};

const answer = async (root: string, request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const file = await fileOf(root, request.url ?? '/');
  if (file === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) {
    response.writeHead(file === undefined ? 404 : 405, { 'content-length': 0 }).end();
    return;
  }
  const { size, mtime } = await stat(file);
  const asked = request.headers.range;
  const range = asked === undefined ? undefined : rangeOf(asked, size);
  if (asked !== undefined && range === undefined) {
    response.writeHead(416, { 'content-range': `bytes */${size}`, 'content-length': 0 }).end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  response.writeHead(range === undefined ? 200 : 206, {
    'content-type': 'application/octet-stream',
    'content-length': end - start + 1,
    'accept-ranges': 'bytes',
    'last-modified': mtime.toUTCString(),
    ...(range === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${size}` }),
  });
  if (request.method === 'HEAD' || size === 0) {
    response.end();
    return;
  }
  createReadStream(file, { start, end })
    .on('error', (error) => response.destroy(error))
    .pipe(response);
};

/**
 * Serves a folder's files over HTTP on the docker bridge, on a free port.
 * Nothing outside `dir` is served, also not through links.
 */
export const serveRepository = async (options: {
  readonly dir: string;
  /** Default: the default bridge's gateway. */
  readonly address?: string;
}): Promise<ServedFolder> => {
  const root = await realpath(options.dir);
  const address = options.address ?? (await bridgeAddress());
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    answer(root, request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : new Error(String(error)));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, address, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${address}:${port}/`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};
