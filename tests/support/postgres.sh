#!/usr/bin/env bash
# A private Postgres for the tests: a unix socket in DIR, nothing shared with the system's own server.
#
#   postgres.sh start DIR   start it; prints  POSTRIDER_TEST_POSTGRES='postgres://…'
#   postgres.sh stop DIR    stop what `start` started in DIR, and remove DIR
#
# DIR must be new and short: the path of a unix socket has at most 107 bytes. Needs Debian's package
# `postgresql` (or any server in PATH). Run by root, the server steps down to an ordinary user, which
# Postgres insists on.
set -euo pipefail

die() { echo "postgres.sh: $*" >&2; exit 1; }

find_programs() {
  local dir
  for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -Vr); do
    if [ -x "$dir/initdb" ]; then echo "$dir"; return; fi
  done
  dir=$(command -v initdb) || die "no Postgres server found: apt-get install postgresql"
  dirname "$(readlink -f "$dir")"
}

# Runs a command as the user that owns the cluster.
as_owner() {
  if [ "$(id -u)" != 0 ]; then "$@"; else runuser -u "$owner" -- "$@"; fi
}

choose_owner() {
  owner=$(id -un)
  if [ "$(id -u)" = 0 ]; then
    owner=postgres
    id "$owner" >/dev/null 2>&1 || owner=nobody
  fi
}

start() {
  local dir=$1 programs options
  [ "${#dir}" -le 80 ] || die "$dir is too long for the path of a unix socket"
  [ ! -e "$dir/data" ] || die "$dir is in use"
  programs=$(find_programs)
  choose_owner
  mkdir -p "$dir"
  chmod 755 "$dir"
  dir=$(cd "$dir" && pwd)
  mkdir "$dir/data" "$dir/socket"
  chmod 700 "$dir/socket"
  [ "$(id -u)" != 0 ] || chown "$owner" "$dir/data" "$dir/socket"
  echo "$programs" > "$dir/programs"

  # From a directory that the owner can read.
  cd "$dir"
  as_owner "$programs/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
    > "$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; die "initdb failed"; }
  # Nothing here has to survive a power cut; nobody but this machine's owner of the socket gets in.
  options="-c listen_addresses='' -c unix_socket_directories='$dir/socket' -c fsync=off"
  options="$options -c synchronous_commit=off -c full_page_writes=off -c max_connections=300"
  as_owner "$programs/pg_ctl" -D "$dir/data" -s -w -t 60 -l "$dir/data/log" -o "$options" start \
    > /dev/null || { cat "$dir/data/log" >&2; die "the server did not start"; }
  echo "POSTRIDER_TEST_POSTGRES='postgres://postgres@localhost/postgres?host=$dir/socket'"
}

stop() {
  local dir=$1
  [ -f "$dir/programs" ] || die "$dir was not made by this script"
  choose_owner
  dir=$(cd "$dir" && pwd)
  cd "$dir"
  if [ -f data/postmaster.pid ]; then
    as_owner "$(cat programs)/pg_ctl" -D "$dir/data" -s -m immediate stop
  fi
  cd /
  rm -rf "$dir"
}

case "${1:-}" in
  start) start "${2:?DIR}" ;;
  stop) stop "${2:?DIR}" ;;
  *) sed -n '2,9p' "$0" >&2; exit 2 ;;
esac
