import { describe, expect, it } from 'vitest';
import { nextCommands } from '../../src/rollout-commands.js';

const FINGERPRINT = 'SHA256:Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9v+/E';

describe('the commands that a stopped rollout prints', () => {
  it('are what was typed, and the way back; usual words stay as they are', () => {
    const argv = ['deploy', 'tts-ha-1.0.1-el7.x86_64', '--site', 'site.yaml', '-y'];
    expect(nextCommands(argv, { site: 'site.yaml' })).toEqual({
      goOn: 'airbundle deploy tts-ha-1.0.1-el7.x86_64 --site site.yaml -y',
      goBack: 'airbundle deploy --rollback --site site.yaml',
    });
  });

  it('can be pasted: what had quotes has them again', () => {
    const argv = ['deploy', '/media/my usb/tts', '--site', "it's.yaml", '--fingerprint', '1a2b 3c4d'];
    expect(nextCommands(argv, { site: "it's.yaml" })).toEqual({
      goOn: `airbundle deploy '/media/my usb/tts' --site 'it'\\''s.yaml' --fingerprint '1a2b 3c4d'`,
      goBack: `airbundle deploy --rollback --site 'it'\\''s.yaml'`,
    });
  });

  it('reach the nodes the same way', () => {
    const options = {
      ...{ site: 'site.yaml', user: 'ops', port: 2222, identity: 'my key', sshConfig: 'ssh.conf' },
      hostKey: new Map([['lb1', FINGERPRINT]]),
    };
    expect(nextCommands([], options).goBack).toBe(
      `airbundle deploy --rollback --site site.yaml --user ops --port 2222 --identity 'my key' --ssh-config ssh.conf --host-key lb1=${FINGERPRINT}`,
    );
  });

  it('are the same one twice when it was going back that stopped', () => {
    const argv = ['deploy', '--rollback', '--site', 'site.yaml', '--to', '1234abcd'];
    const again = 'airbundle deploy --rollback --site site.yaml --to 1234abcd';
    expect(nextCommands(argv, { site: 'site.yaml', rollback: true })).toEqual({ goOn: again, goBack: again });
  });
});
