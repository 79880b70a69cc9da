#!/usr/bin/env bash
# Builds the functions for Lambda: target/lambda/<function>.zip, each with its `bootstrap`.
#
#   infrastructure/package.sh                          for arm64, as the template expects
#   ARCHITECTURE=x86_64 infrastructure/package.sh      where the arm64 standard library cannot be had
#
# Needs: a Rust toolchain, Python 3.10 or later with venv. Installs cargo-lambda and zig (from PyPI, pinned with hashes) into
# .local/package-venv and nothing anywhere else, but the target's standard library, which rustup puts into the toolchain.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly functions=(api issue provision clean-up sweep alert)
readonly venv=.local/package-venv
readonly requirements=infrastructure/package-requirements.txt
readonly output=target/lambda

fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  if (($# > 0)); then printf 'hint: %s\n' "$@" >&2; fi
  exit 1
}

architecture=${ARCHITECTURE:-arm64}
case $architecture in
  arm64) target=aarch64-unknown-linux-gnu flag=--arm64 ;;
  x86_64) target=x86_64-unknown-linux-gnu flag=--x86-64 ;;
  *) fail "\`$architecture\` is no architecture of Lambda" "set ARCHITECTURE to arm64 or x86_64" ;;
esac

command -v cargo >/dev/null || fail "there is no cargo" "install a Rust toolchain: https://rustup.rs"
command -v python3 >/dev/null || fail "there is no python3" "install Python 3.10 or later"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "python3 is older than 3.10" "install Python 3.10 or later"

# The target's standard library.
if [[ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]]; then
  printf 'adding the standard library of %s\n' "$target" >&2
  if ! command -v rustup >/dev/null || ! rustup target add "$target" >&2; then
    fail "the Rust toolchain has no standard library for \`$target\`, and it could not be added" \
      "where rustup reaches its server: rustup target add $target" \
      "or build for the other architecture, here and when deploying: ARCHITECTURE=x86_64"
  fi
fi

# The tools, once for each set of pins.
if ! cmp -s "$requirements" "$venv/installed.txt"; then
  printf 'installing cargo-lambda and zig into %s\n' "$venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$requirements" >&2
  cp "$requirements" "$venv/installed.txt"
fi
# cargo-lambda finds zig through the `python3` on the path.
PATH="$PWD/$venv/bin:$PATH"
export PATH

binaries=()
for function in "${functions[@]}"; do binaries+=(--package "sorry-$function" --bin "sorry-$function"); done
cargo lambda build --release --locked "$flag" --output-format zip "${binaries[@]}"

for function in "${functions[@]}"; do
  cp "$output/sorry-$function/bootstrap.zip" "$output/$function.zip"
done

# What Lambda would refuse only when it runs.
python3 - "$architecture" "${functions[@]/#/$output/}" <<'PYTHON'
import hashlib, struct, sys, zipfile

architecture, *stems = sys.argv[1:]
machine = {"arm64": 183, "x86_64": 62}[architecture]  # EM_AARCH64, EM_X86_64
for stem in stems:
    path = f"{stem}.zip"
    with zipfile.ZipFile(path) as archive:
        if archive.namelist() != ["bootstrap"]:
            sys.exit(f"error: {path} holds {archive.namelist()}, and Lambda wants `bootstrap` alone")
        member = archive.getinfo("bootstrap")
        header = archive.read(member)[:20]
    if header[:4] != b"\x7fELF" or struct.unpack_from("<H", header, 18)[0] != machine:
        sys.exit(f"error: the `bootstrap` in {path} is no {architecture} program")
    if not (member.external_attr >> 16) & 0o111:
        sys.exit(f"error: the `bootstrap` in {path} cannot be executed")
    with open(path, "rb") as file:
        content = file.read()
    print(f"{path}  {architecture}  {len(content) / 1e6:.1f} MB, {member.file_size / 1e6:.1f} MB unpacked"
          f"  sha256 {hashlib.sha256(content).hexdigest()[:16]}")
PYTHON
