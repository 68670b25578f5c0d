/** A Debian package, or those of its files whose path (without leading slash, /usr-merged) matches. */
export type DebPart =
  | string
  | { readonly deb: string; readonly only: string }
  | { readonly deb: string; readonly except: string };

/** How one EL7-named RPM is made. */
export interface RpmRecipe {
  readonly name: string;
  readonly license: string;
  /** Payload. The first one gives the version, the summary and the release. */
  readonly debs: readonly DebPart[];
  /** EL7's epoch, where it has one that the product should meet. */
  readonly epoch?: number;
  /** `version-release` of a package without Debian packages. */
  readonly version?: string;
  readonly arch?: 'x86_64' | 'i686' | 'noarch';
  /** Packages required in exactly this package's own version, as a `-devel` requires its library. */
  readonly exact?: readonly string[];
  /** Requires beyond those derived from Debian's Depends and from ELF. */
  readonly requires?: readonly string[];
  readonly provides?: readonly string[];
  /** Payload beyond Debian's: alternatives' links, EL7's own files. Path → link target or content. */
  readonly links?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
  readonly dirs?: readonly string[];
  /** EL7's `%post -p /sbin/ldconfig`. */
  readonly ldconfig?: boolean;
}

/** The Debian package of a part. */
export const debOf = (part: DebPart): string => (typeof part === 'string' ? part : part.deb);
