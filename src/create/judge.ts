/** What the facts from the containers mean; everything here is pure. */
export type { ClosureFacts, RpmFacts, YumFacts } from './judge-facts.js';
export { judgeYum, unknownPackages } from './judge-yum.js';
export { judgeClosure, judgeRequested, judgeRpms } from './judge-rpms.js';
export type { JudgedRpm } from './judge-rpms.js';
