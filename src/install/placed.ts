import { createHash } from 'node:crypto';
import type { Placed } from './journal.js';

export const placedText = (text: string): Placed => ({
  sha256: createHash('sha256').update(text).digest('hex'),
  link: null,
});

export const placedFile = (sha256: string): Placed => ({ sha256, link: null });

export const placedLink = (to: string): Placed => ({ sha256: null, link: to });
