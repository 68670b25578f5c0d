import { rm } from 'node:fs/promises';
import path from 'node:path';
import { invalidError, stepError, untrustedError } from '../errors.js';
import type { GitObject } from '../model/grammar.js';
import type { Lock, LockedSource } from '../model/lock.js';
import type { Manifest, ManifestComponent } from '../model/manifest.js';
import { nearest } from '../model/nearest.js';
import type { Reporter } from '../report.js';
import { inStep } from '../report.js';
import type { FetchedCommit, GitContext, RemoteRef } from './git.js';
import { exportCommit, fetchOne, inspectFetched, listRemote } from './git.js';
import { allOrAbort } from './create-together.js';
import { updateCommand } from './lockfile.js';
import type { Store } from './store.js';
import { scratchFolder } from './store.js';

export interface SourcesRequest {
  readonly manifest: Manifest;
  /** Relative repository paths start here. */
  readonly manifestFolder: string;
  /** As it was typed, for what to do next. */
  readonly manifestPath?: string;
  /** What must come out again, when there is a lock. */
  readonly lock: Pick<Lock, 'sources'> | undefined;
  readonly store: Store;
  readonly cacheDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal;
  /** Components whose first commit is taken over a plain connection (http, git) as it comes. */
  readonly trustHttp?: readonly string[];
}

/**
 * Every component's source as a tar in the store, in the manifest's order. Nothing is fetched for a
 * source whose export, as the lock names it, is there already.
 * @throws BundleError exit 3: no such ref; exit 4: a moved tag, damage; exit 6: unreachable
 */
export async function collectSources(request: SourcesRequest): Promise<LockedSource[]> {
  return allOrAbort(
    request.signal,
    request.manifest.components.map((component) => async (signal: AbortSignal) => {
      const locked = request.lock?.sources.find((source) => source.component === component.name);
      if (locked !== undefined && (await request.store.intact(locked.sha256))) return locked;
      return inStep(
        request.reporter,
        `source:${component.name}`,
        `source of ${component.name} ${component.source.ref}`,
        (step) =>
          collectSource(component, locked, { ...request, signal }, (note) => {
            step.note(note);
          }),
        (source) => source.commit.slice(0, 12),
      );
    }),
  );
}

async function collectSource(
  component: ManifestComponent,
  locked: LockedSource | undefined,
  request: SourcesRequest & { readonly signal: AbortSignal },
  note: (text: string) => void,
): Promise<LockedSource> {
  const { store, cacheDir, reporter } = request;
  const { git, ref } = component.source;
  const url = absoluteUrl(git, request.manifestFolder);
  const scratch = await scratchFolder(cacheDir, 'git');
  try {
    const plainAccepted =
      component.source.commit !== undefined ||
      locked !== undefined ||
      request.trustHttp?.includes(component.name) === true;
    const context = { ...request, plainAccepted, onNote: note };
    const wanted = await resolveRef(component, url, context);
    if (wanted.name.startsWith('refs/heads/') && locked === undefined)
      reporter.warn(
        `${component.name}: "${ref}" is a branch and will move: a tag or a commit id keeps the bundle reproducible`,
      );
    await fetchOne(url, wanted.name, wanted.object, scratch, path.join(cacheDir, 'git'), {
      ...context,
      onFull: () => {
        note('the server hands out no single commit: fetching the whole history');
      },
    });
    const fetched = await inspectFetched(scratch, url, request);
    const update = updateCommand(request.manifestPath, component.name);
    mustBe(component, fetched, component.source.commit);
    mustBe(component, fetched, locked?.commit, update);
    for (const submodule of fetched.submodules)
      reporter.warn(`${component.name}: the submodule ${submodule} is not carried; its folder will be empty`);
    if (fetched.pointers.length > 0) reporter.warn(`${component.name}: ${notCarried(fetched.pointers)}`);

    const archive = await exportCommit(scratch, fetched.commit, component.name, request);
    const kill = (): void => {
      archive.kill();
    };
    request.signal.addEventListener('abort', kill, { once: true });
    const kept = await store
      .put(archive.stdout)
      .catch((error: unknown) => {
        kill();
        throw error;
      })
      .finally(() => {
        request.signal.removeEventListener('abort', kill);
      });
    const end = await archive.end;
    request.signal.throwIfAborted();
    if (end.exitCode !== 0)
      throw stepError({
        code: 'GIT_EXPORT_FAILED',
        message: `git archive failed for ${component.name}`,
        details: end.stderr.trimEnd().split('\n').slice(-8),
        hint: 'Check the disk and the git program, then run the command again.',
      });
    const source = {
      component: component.name,
      url: git,
      ref,
      commit: fetched.commit,
      tree: fetched.tree,
      ...kept,
    };
    if (locked !== undefined && locked.sha256 !== source.sha256) throw exportDiffers(locked, source, update);
    return source;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function notCarried(pointers: readonly string[]): string {
  const [are, more] = [pointers.length === 1 ? 'file is' : 'files are', pointers.length - 5];
  return `${String(pointers.length)} ${are} kept by git LFS and not carried, only what points there: ${pointers.slice(0, 5).join(', ')}${more > 0 ? ` and ${String(more)} more` : ''}; if the build needs them, take a repository that holds them itself`;
}

/** A commit id as it is; a tag before a branch of the same name, as git itself does. */
async function resolveRef(
  component: ManifestComponent,
  url: string,
  context: GitContext,
): Promise<RemoteRef> {
  const { ref } = component.source;
  if (/^[0-9a-f]{40}$/.test(ref)) return { name: ref, object: ref };
  const refs = await listRemote(url, context);
  for (const name of [`refs/tags/${ref}`, `refs/heads/${ref}`, ref]) {
    const found = refs.find((candidate) => candidate.name === name);
    if (found !== undefined) return found;
  }
  const names = refs
    .filter(({ name }) => !name.endsWith('^{}'))
    .map(({ name }) => name.replace(/^refs\/(?:heads|tags)\//, ''));
  const close = likely(ref, names);
  throw invalidError({
    code: 'NO_SUCH_REF',
    message: `${url} has no tag or branch "${ref}"`,
    where: `components: ${component.name}: source: ref`,
    details:
      close.length === 0
        ? [`it has ${String(names.length)} tags and branches`]
        : [`it has: ${close.join(', ')}`],
    hint: /^[0-9a-f]{7,39}$/.test(ref)
      ? 'A commit is named by all of its 40 digits.'
      : `See what it has: git ls-remote --heads --tags ${url}`,
  });
}

/** The names that were most likely meant: the nearest first, then those with the longest common beginning. */
function likely(ref: string, names: readonly string[]): string[] {
  const common = (name: string): number => {
    let length = 0;
    while (length < name.length && name[length] === ref[length]) length += 1;
    return length;
  };
  const near = nearest(ref, names);
  const alike = names
    .filter((name) => common(name) > 1 && name !== near)
    .sort((a, b) => common(b) - common(a));
  return [...(near === undefined ? [] : [near]), ...alike].slice(0, 5);
}

/** @param update the command that takes another commit than the locked one; undefined when the manifest pins it */
function mustBe(
  component: ManifestComponent,
  fetched: FetchedCommit,
  expected: GitObject | undefined,
  update?: string,
): void {
  if (expected === undefined || expected === fetched.commit) return;
  throw untrustedError({
    code: 'REF_MOVED',
    message: `${component.name}: "${component.source.ref}" is not the commit that the ${update === undefined ? 'manifest' : 'lock'} pins`,
    where: component.source.git,
    details: [`pinned ${expected}`, `now    ${fetched.commit}`],
    hint:
      update === undefined
        ? 'A tag never moves by itself: find out why. To take the new commit, write it as "commit:".'
        : `A tag never moves by itself: find out why. To keep the old commit, write it as "ref:". To take the new one:\n${update}`,
  });
}

function exportDiffers(locked: LockedSource, source: LockedSource, update: string): Error {
  return untrustedError({
    code: 'EXPORT_DIFFERS',
    message: `${source.component}: the commit is the locked one, its exported tar is not`,
    where: source.url,
    details: [`locked sha256 ${locked.sha256}`, `now    sha256 ${source.sha256}`],
    hint: `Its .gitattributes may ask for something that changes (export-subst with a relative date), or this git writes tar differently. To take the new export:\n${update}`,
  });
}

/** What git is given: a path in the manifest is relative to the manifest. */
function absoluteUrl(git: string, manifestFolder: string): string {
  return /^\.{0,2}\//.test(git) ? path.resolve(manifestFolder, git) : git;
}
