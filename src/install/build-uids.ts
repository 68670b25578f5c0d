/** Builds run as one of these numeric users: no account has them, so no file or process is theirs. */
export const BUILD_UIDS = { first: 47_801, last: 47_899 } as const;
