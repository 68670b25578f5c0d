/*
 * npm run bench: the measurements of DESIGN's goals, one after the other; each prints ratios of one run,
 * because machines are noisy.
 */
await import('./pack.js');
await import('./verify.js');
await import('./install.js');
await import('./upload.js');
