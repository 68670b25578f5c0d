import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';

/** What an operator types; the command itself may not be there (yet, or any more), the folder of the bundle is. */
export async function undoCommand(host: Host, verb: 'rollback' | 'uninstall'): Promise<string> {
  return (await host.lstat(target.command)) === undefined
    ? `sh install.sh ${verb} --key FILE --fingerprint F (in the folder of the bundle)`
    : `airbundle ${verb}`;
}
