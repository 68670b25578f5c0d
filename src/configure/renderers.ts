import { haproxy } from './haproxy-setup.js';
import { keepalived } from './keepalived-setup.js';
import type { Renderer } from './rendering.js';

/** From the manifest's `configuration:` to its renderer, in the order in which they are installed and started. */
export const RENDERERS: ReadonlyMap<string, Renderer> = new Map<string, Renderer>([
  ['haproxy', haproxy],
  ['keepalived', keepalived],
]);
