import { sha256Of } from './create-support.js';

export interface ManifestParts {
  readonly ref?: string;
  readonly commit?: string;
  readonly packages?: readonly string[];
  readonly runtimeUrl?: string;
  readonly git?: string;
}

/** A small manifest whose runtime is the four bytes "node" at an address that nobody serves. */
export function manifestText(parts: ManifestParts = {}): string {
  return `airbundle: 1
name: thing-ha
version: "1.2.0"
sequence: 3
target: { os: el7, arch: x86_64, releases: ["7.5"] }
collector: { image: "collector" }
repositories:
  - { id: os, url: "http://mirror.example/os" }
keys:
  - { fingerprint: "6341 AB27 53D7 8A78 A7C2 7BB1 24C6 A8A7 F4A8 0EB5", file: ./key }
runtime:
  url: ${parts.runtimeUrl ?? 'http://127.0.0.1:9/node'}
  sha256: ${sha256Of('node')}
  version: "16.20.2"
components:
  - name: thing
    version: "1.0"
    licence: MIT
    packages: [${(parts.packages ?? ['openssl-devel', 'zlib-devel']).join(', ')}]
    source:
      git: ${parts.git ?? './upstream'}
      ref: ${parts.ref ?? 'v1.0'}
${parts.commit === undefined ? '' : `      commit: ${parts.commit}\n`}    build: [[make]]
    install: [make, install]
    files: [/usr/local/sbin/thing]
`;
}
