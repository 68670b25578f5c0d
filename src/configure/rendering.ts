import type { Site, SiteNode } from '../model/site.js';
import type { Origin } from './header.js';
import type { Secrets } from './secrets.js';
import type { Configuration } from './types.js';

/** What a renderer is given: one component on one node. */
export interface Rendering {
  readonly component: string;
  readonly site: Site;
  readonly node: SiteNode;
  readonly origin: Origin;
  readonly secrets: Secrets;
  /** Scripts of the bundle, which a site may name. */
  readonly scripts: ReadonlySet<string>;
  /** The configurations that this installation has, this one included. */
  readonly present: ReadonlySet<string>;
}

export type Renderer = (given: Rendering) => Configuration;
