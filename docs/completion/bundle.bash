# shellcheck shell=bash disable=SC2207
# Made by scripts/completion.mjs from --help. Do not edit.
# Install: cp docs/completion/bundle.bash /etc/bash_completion.d/bundle
_airbundle() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W 'cache create deploy export init inspect install inventory keygen lock plan receipts rollback sign status tools trust uninstall verify --help --version' -- "$word"))
    return
  fi
  case $before in
    -o|--output)
      COMPREPLY=($(compgen -W 'text json' -- "$word"))
      return
      ;;
    --log-format)
      COMPREPLY=($(compgen -W 'text json' -- "$word"))
      return
      ;;
    --engine)
      COMPREPLY=($(compgen -W 'docker podman' -- "$word"))
      return
      ;;
    --identity|--inventory|--key|--out|--passphrase-file|--plan|--site|--ssh-config)
      COMPREPLY=($(compgen -f -- "$word"))
      return
      ;;
    --cache|--log-dir|--old-rpms)
      COMPREPLY=($(compgen -d -- "$word"))
      return
      ;;
    --allow-conflict|--allow-protected|--build|--fingerprint|--host-key|--image|--node|--noted|--older-than|--parallel|--port|--to|--trust-http|--user) return ;;
  esac
  case $word in
    -*)
      case $command in
        cache) COMPREPLY=($(compgen -W '-h --help -o --output --log-format --no-color -q --quiet --cache --older-than --dry-run' -- "$word")) ;;
        create) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --engine --image --cache --trust-http --key --no-sign --passphrase-file --out --locked --force -h --help' -- "$word")) ;;
        deploy) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --site --key --fingerprint --check --rollback --to -y --yes --node --user --port --identity --ssh-config --host-key --allow-upgrade --allow-protected --allow-conflict --take-over --build --keep-build-packages --parallel --no-watch --log-dir -h --help' -- "$word")) ;;
        export) COMPREPLY=($(compgen -W '-h --help -o --output --log-format --no-color -q --quiet' -- "$word")) ;;
        init) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet -h --help' -- "$word")) ;;
        inspect) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --key --fingerprint --unsigned -h --help' -- "$word")) ;;
        install) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --key --fingerprint --site --node --allow-upgrade --allow-protected --allow-conflict --take-over --build --keep-build-packages --verbose -y --yes --dry-run --plan -h --help' -- "$word")) ;;
        inventory) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --key --fingerprint --site --node -h --help' -- "$word")) ;;
        keygen) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --out --passphrase-file --passphrase -h --help' -- "$word")) ;;
        lock) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --engine --image --cache --trust-http --update -h --help' -- "$word")) ;;
        plan) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --inventory --key --fingerprint --unsigned --site --node --allow-upgrade --allow-protected --allow-conflict --take-over --build --keep-build-packages --verbose -h --help' -- "$word")) ;;
        receipts) COMPREPLY=($(compgen -W '-h --help -o --output --log-format --no-color -q --quiet --noted' -- "$word")) ;;
        rollback) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --old-rpms -y --yes --dry-run --verbose --to -h --help' -- "$word")) ;;
        sign) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --key --passphrase-file -h --help' -- "$word")) ;;
        status) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --site --user --port --identity --ssh-config --host-key -h --help --own-view --compare-secret' -- "$word")) ;;
        tools) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --key --fingerprint -h --help' -- "$word")) ;;
        trust) COMPREPLY=($(compgen -W '-h --help -o --output --log-format --no-color -q --quiet -y --yes --dry-run --fingerprint --again' -- "$word")) ;;
        uninstall) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --old-rpms -y --yes --dry-run --verbose --purge -h --help' -- "$word")) ;;
        verify) COMPREPLY=($(compgen -W '-o --output --log-format --no-color -q --quiet --key --fingerprint --unsigned -h --help' -- "$word")) ;;
      esac
      ;;
    *)
      case $command in
        cache) COMPREPLY=($(compgen -W 'list prune' -- "$word")) ;;
        export) COMPREPLY=($(compgen -W 'ansible' -- "$word")) ;;
        receipts) COMPREPLY=($(compgen -W 'list show check export' -- "$word")) ;;
        trust) COMPREPLY=($(compgen -W 'list add remove require' -- "$word")) ;;
        create | deploy | init | inspect | inventory | lock | sign | verify) COMPREPLY=($(compgen -f -- "$word")) ;;
        install | plan | tools) COMPREPLY=($(compgen -d -- "$word")) ;;
      esac
      ;;
  esac
}
complete -o filenames -F _airbundle bundle airbundle
