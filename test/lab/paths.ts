import { fileURLToPath } from 'node:url';
import path from 'node:path';

/** The repository's root, absolute. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');

/** Everything that the lab generates; ignored by git. */
export const LAB = path.join(ROOT, '.lab');
export const CACHE = path.join(LAB, 'cache');
export const LOCKS = path.join(LAB, 'locks');

/** This room, absolute. */
export const HERE = path.join(ROOT, 'test', 'lab');

/** The scripts that turn a base system into an image. */
export const IMAGE_SCRIPTS = path.join(ROOT, 'dockerfiles', 'lab');
