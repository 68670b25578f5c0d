/*
 * The files of the Ansible role that `export ansible` writes. The role decides nothing: the node's own installer
 * verifies, plans, refuses and undoes, and says in JSON whether it changed anything.
 */

const DEFAULTS = `# What a playbook or an inventory sets.

# The folder of the bundle on the control node, with its four files. No default.
# airbundle_folder: /srv/bundles/tts-ha-1.0.1-el7.x86_64

# The site file on the control node, and the files beside it that it names (secrets). No default for the first.
# airbundle_site: /srv/sites/bank/site.yaml
airbundle_site_files: []

# This node's name in the site file.
airbundle_node: '{{ inventory_hostname_short }}'

# For the first installation on a node: the packager's public key on the control node, and its fingerprint, which
# came by another way than the bundle. A node that trusts a key already does not look at them.
airbundle_key: ''
airbundle_fingerprint: ''

# More words for "airbundle install", for example ['--allow-upgrade'] or ['--build', 'isolated'].
airbundle_flags: []

# Where the bundle is put on the node; root alone can write there.
airbundle_incoming: /var/lib/airbundle/incoming
`;

const TASKS = `---
- name: Something to install is named
  ansible.builtin.assert:
    that:
      - airbundle_folder is defined
      - airbundle_site is defined
    fail_msg: 'set airbundle_folder and airbundle_site: see defaults/main.yml of this role'
    quiet: true

# What lies there is no change of the node: nothing reads it but the installer, which verifies it first.
- name: There is a place that only root can write
  ansible.builtin.file:
    path: '{{ item }}'
    state: directory
    owner: root
    group: root
    mode: '{{ "0711" if item == "/var/lib/airbundle" else "0700" }}'
  loop:
    - /var/lib/airbundle
    - '{{ airbundle_incoming }}'
    - '{{ airbundle_to }}'
  check_mode: false
  changed_when: false

- name: The bundle is there
  ansible.builtin.copy:
    src: '{{ airbundle_folder }}/'
    dest: '{{ airbundle_to }}/'
    owner: root
    group: root
    mode: '0600'
  check_mode: false
  changed_when: false

- name: The site file is there, and what it names
  ansible.builtin.copy:
    src: '{{ item }}'
    dest: '{{ airbundle_incoming }}/{{ item | basename }}'
    owner: root
    group: root
    mode: '0600'
  loop: '{{ [airbundle_site] + airbundle_site_files }}'
  loop_control:
    label: '{{ item | basename }}'
  check_mode: false
  changed_when: false
  diff: false

- name: The node is asked which keys it trusts
  ansible.builtin.find:
    paths: /etc/airbundle/trust
    patterns: '*.pem'
  register: airbundle_trusted

- name: The packager's public key is there
  ansible.builtin.copy:
    src: '{{ airbundle_key }}'
    dest: '{{ airbundle_incoming }}/packager.pub.pem'
    owner: root
    group: root
    mode: '0600'
  when: airbundle_trusted.matched == 0 and airbundle_key | length > 0
  check_mode: false
  changed_when: false

# The installer's exit codes: 0 done, 3 to 5 nothing was changed, 6 a step failed. Check mode makes the plan only.
- name: The bundle is installed
  ansible.builtin.command:
    argv: >-
      {{ ['/bin/sh', airbundle_to + '/install.sh', 'install']
         + ([] if airbundle_trusted.matched > 0
            else ['--key', airbundle_incoming + '/packager.pub.pem', '--fingerprint', airbundle_fingerprint])
         + ['--site', airbundle_incoming + '/' + (airbundle_site | basename), '--node', airbundle_node]
         + ['-y', '-o', 'json', '--no-color']
         + airbundle_flags
         + (['--dry-run'] if ansible_check_mode else []) }}
  register: airbundle_run
  check_mode: false
  failed_when: airbundle_run.rc != 0
  changed_when: >-
    airbundle_run.rc == 6
    or (airbundle_run.rc == 0
        and ((airbundle_run.stdout | from_json).outcome == 'installed'
             or ((airbundle_run.stdout | from_json).outcome == 'planned'
                 and (airbundle_run.stdout | from_json).plan.steps | length > 0)))

- name: The node is as it was installed
  ansible.builtin.command:
    argv: [/usr/sbin/airbundle, status, -o, json]
  register: airbundle_status
  changed_when: false
  failed_when: airbundle_status.rc != 0 or (airbundle_status.stdout | from_json).problems | length > 0
`;

const VARS = `---
# The name of the folder is the name of the bundle.
airbundle_to: "{{ airbundle_incoming }}/{{ airbundle_folder | regex_replace('/+$', '') | basename }}"
`;

const META = `---
galaxy_info:
  role_name: airbundle
  author: airbundle
  description: Installs a signed bundle by the node's own installer.
  license: Apache-2.0
  min_ansible_version: '2.11'
  platforms:
    - name: EL
      versions: ['7']
dependencies: []
`;

const README = `# The role airbundle

Brings a bundle to a node and lets the node's own installer verify, plan and install it. \`changed\` and \`failed\` are what the installer says in JSON and by its exit code.

\`\`\`yaml
- hosts: load_balancers
  become: true
  # One after another, the standby first: the node that serves comes last.
  serial: 1
  roles:
    - role: airbundle
      airbundle_folder: /srv/bundles/tts-ha-1.0.1-el7.x86_64
      airbundle_site: /srv/sites/bank/site.yaml
      airbundle_site_files: [/srv/sites/bank/bank.secret]
      airbundle_key: /srv/keys/packager.pub.pem
      airbundle_fingerprint: '1a2b 3c4d …'
\`\`\`

- \`ansible-playbook --check\` makes the plan on each node and says \`changed\` where an installation would change something. It puts the bundle into \`/var/lib/airbundle/incoming\`, and nothing else. The last task does not run then.
- A second run says \`ok\`, not \`changed\`.
- \`airbundle deploy\` moves the VIPs by a controlled failover, watches them and stops at the first node that fails. This role does not: give \`serial: 1\`, and order the hosts.
- A node needs Python for Ansible; airbundle does not.
- All variables: \`defaults/main.yml\`.
`;

export interface RoleFile {
  /** Below the role's folder. */
  readonly path: string;
  readonly text: string;
}

/** @param version of the program that writes it */
export function ansibleRole(version: string): RoleFile[] {
  const header = `# Written by airbundle ${version}: export ansible. To change it, write it again.\n`;
  return [
    { path: 'README.md', text: README },
    { path: 'defaults/main.yml', text: `${header}---\n${DEFAULTS}` },
    { path: 'meta/main.yml', text: header + META },
    { path: 'tasks/main.yml', text: header + TASKS },
    { path: 'vars/main.yml', text: header + VARS },
  ];
}
