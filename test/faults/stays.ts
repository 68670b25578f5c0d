/**
 * RPMs and accounts stay (docs/decisions/0009), with the list of what rpm unpacks (0085); the program's own folders
 * hold logs, backups and the lock.
 */
export const STAYS =
  /^[+~-] (?:rpm mini-|rpm -V|\/usr\/share\/mini-(?:lib|extra)|\/var\/lib\/mini(?:\/|:|$)|\/etc\/(?:passwd|group|g?shadow|sub[ug]id)-?(?::|$)|\/var\/lib\/airbundle(?:\/(?:(?:backup|build|stage)(?:\/.*)?|unpacking\.json))?(?::|$))/;
