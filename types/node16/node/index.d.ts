// Stands where TypeScript looks for the package "node" (typeRoots of tsconfig.installer.json), so that a
// dependency's own `/// <reference types="node" />` gets Node 16 too and cannot bring Node 20's names back.
/// <reference path="../../../node_modules/@types/node16/index.d.ts" />
