import type { NodeAgent } from './agent.js';

/** A node that could not be logged in to: asked, it says why. */
export function awayAgent(name: string, error: unknown): NodeAgent {
  const refuse = (): Promise<never> =>
    Promise.reject(error instanceof Error ? error : new Error(String(error)));
  return { name, run: refuse, upload: refuse, follow: refuse, close: () => Promise.resolve() };
}
