/** Written in by the build (scripts/build.mjs). */
declare const AIRBUNDLE_VERSION: string | undefined;

/** Of the package that this program is from; "unbuilt" when it is run from its sources. */
export const programVersion = (): string =>
  typeof AIRBUNDLE_VERSION === 'string' ? AIRBUNDLE_VERSION : 'unbuilt';
