#!/usr/bin/env bash
# Says what is missing before anything fails for want of it. `prerequisites.sh valgrind` looks for what the benchmarks need besides.
set -euo pipefail

missing=0
need() { # command, why, how to get it
  if ! command -v "$1" >/dev/null; then
    printf 'error: there is no `%s`, and %s\nhint: %s\n' "$1" "$2" "$3" >&2
    missing=1
  fi
}

need cargo "the program is written in Rust" "install a Rust toolchain, 1.95 or later: https://rustup.rs"
need cc "Rust links with it" "install a C compiler, such as Debian's package gcc"
need python3 "the local AWS and the checks run in it" "install Python 3.10 or later, with venv"
need node "the state machine is checked with it" "install Node.js 20 or later"
need npm "the state machine's checker comes with it" "install npm, which comes with Node.js"
# The vault is tested with OpenSSH's own tools. Where that needs nobody's password, they are installed.
if ! command -v ssh-agent >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  apt-get install --yes --quiet --no-install-recommends openssh-client >&2 || true
fi
for tool in ssh-agent ssh-add ssh-keygen; do
  need "$tool" "the vault is tested with OpenSSH's own tools" "install OpenSSH's client, such as Debian's package openssh-client"
done
if [[ ${1:-} == valgrind ]]; then
  if ! command -v valgrind >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    apt-get install --yes --quiet --no-install-recommends valgrind >&2 || true
  fi
  need valgrind "the benchmarks count instructions with it" "install valgrind, such as Debian's package of that name"
fi
need setsid "commands are tested without a terminal" "install util-linux"
[[ $missing == 0 ]] || exit 1

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  printf 'error: this is %s\nhint: install Python 3.10 or later\n' "$(python3 --version)" >&2
  exit 1
}
python3 -c 'import venv, ensurepip' 2>/dev/null || {
  printf 'error: Python has no venv\nhint: install it, such as Debian'\''s package python3-venv\n' >&2
  exit 1
}
major=$(node --version | sed 's/^v\([0-9]*\).*/\1/')
((major >= 20)) || {
  printf 'error: this is Node.js %s\nhint: install Node.js 20 or later\n' "$(node --version)" >&2
  exit 1
}
