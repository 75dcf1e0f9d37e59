#!/usr/bin/env bash
# Installs what the tests' servers, browser and fuzzer need, where it is missing (Debian and its kin).
set -euo pipefail

missing=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v exim4 >/dev/null || missing+=(exim4-daemon-light)
command -v dovecot >/dev/null || missing+=(dovecot-core)
[ -e /usr/lib/dovecot/imap ] || missing+=(dovecot-imapd)
[ -e /usr/lib/dovecot/lmtp ] || missing+=(dovecot-lmtpd)
command -v sievec >/dev/null || missing+=(dovecot-sieve)
command -v redis-server >/dev/null || missing+=(redis-server)
# Only newer systems have it: for others valkey.sh fetches one.
command -v valkey-server >/dev/null || ! apt-cache show valkey-server >/dev/null 2>&1 || missing+=(valkey-server)
command -v curl >/dev/null || missing+=(curl)
command -v openssl >/dev/null || missing+=(openssl)
command -v chromedriver >/dev/null || missing+=(chromium chromium-driver)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing+=(libfaketime)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
[ ${#missing[@]} -eq 0 ] && exit 0

fail() { printf 'the tests need these packages: %s (%s)\n' "${missing[*]}" "$1" >&2; exit 1; }
[ "${POSTRIDER_TEST_INSTALL:-1}" = 1 ] || fail "POSTRIDER_TEST_INSTALL=0 forbids installing them"
command -v apt-get >/dev/null || fail "there is no apt-get here; install them another way"
as_root=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || fail "run: sudo apt-get install ${missing[*]}"
    as_root=(sudo -n)
fi
printf 'installing %s\n' "${missing[*]}" >&2

# The system's own servers must not start: a policy-rc.d of 101 forbids it, no cluster is created.
"${as_root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
printf 'create_main_cluster = false\n' |
    "${as_root[@]}" tee /etc/postgresql-common/createcluster.d/postrider-tests.conf >/dev/null
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod +x $policy
    trap '"${as_root[@]}" rm -f $policy' EXIT
fi
{
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
} >&2
