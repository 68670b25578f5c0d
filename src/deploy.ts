import { Command } from 'commander';
import { runProgram } from './commandline.js';
import { exportCommands } from './export-commands.js';
import { localHost } from './host/local.js';
import { dialSsh } from './host/ssh.js';
import { deskPlanCommand } from './plan-commands.js';
import { programVersion } from './program-version.js';
import { reviewCommands } from './review-commands.js';
import { deployCommand, siteStatusCommand } from './rollout-commands.js';

function program(): Command {
  const root = new Command('airbundle').description(
    'Brings a signed bundle to the nodes of a site over SSH, from one machine inside the closed network.',
  );
  deployCommand(root, { host: localHost, dial: dialSsh });
  siteStatusCommand(root, { host: localHost, dial: dialSsh });
  exportCommands(root, programVersion);
  deskPlanCommand(root, localHost);
  reviewCommands(root, { host: localHost, trustStore: true });
  return root;
}

// Logs and documents are the user's own affair.
process.umask(0o077);
void runProgram(program(), process.argv).then((code) => process.exit(code));
