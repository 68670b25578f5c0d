import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';

/** What an operator types to take back an unfinished run; the command itself may not be there (yet, or any more). */
export async function rollbackCommand(host: Host): Promise<string> {
  return (await host.lstat(target.command)) === undefined
    ? 'sh install.sh rollback --key FILE --fingerprint F (in the folder of the bundle)'
    : 'airbundle rollback';
}
