#!/usr/bin/env bash
# A private Redis for the tests: a unix socket in DIR, nothing kept, nothing shared with the system's
# own server.
#
#   redis.sh start DIR   start it; prints  POSTRIDER_TEST_REDIS='redis+unix://…'
#   redis.sh stop DIR    stop what `start` started in DIR, and remove DIR
#
# DIR must be new and short: the path of a unix socket has at most 107 bytes. Needs `redis-server`
# (Debian's package of that name).
set -euo pipefail

die() { echo "redis.sh: $*" >&2; exit 1; }

start() {
  local dir=$1
  [ "${#dir}" -le 80 ] || die "$dir is too long for the path of a unix socket"
  [ ! -e "$dir/redis.pid" ] || die "$dir is in use"
  command -v redis-server >/dev/null || die "no Redis server found: apt-get install redis-server"
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  redis-server --port 0 --unixsocket "$dir/socket" --unixsocketperm 700 --dir "$dir" --save '' \
    --appendonly no --maxmemory-policy noeviction --daemonize yes --pidfile "$dir/redis.pid" \
    --logfile "$dir/log" > /dev/null || { cat "$dir/log" >&2; die "the server did not start"; }
  local tries=100
  until redis-cli -s "$dir/socket" ping 2>/dev/null | grep -q PONG; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { cat "$dir/log" >&2; die "the server does not answer"; }
    sleep 0.1
  done
  echo "POSTRIDER_TEST_REDIS='redis+unix://$dir/socket'"
}

stop() {
  local dir=$1 pid
  [ -f "$dir/log" ] || die "$dir was not made by this script"
  if [ -f "$dir/redis.pid" ]; then
    pid=$(cat "$dir/redis.pid")
    redis-cli -s "$dir/socket" shutdown nosave >/dev/null 2>&1 || kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  fi
  rm -rf "$dir"
}

case "${1:-}" in
  start) start "${2:?DIR}" ;;
  stop) stop "${2:?DIR}" ;;
  *) sed -n '2,9p' "$0" >&2; exit 2 ;;
esac
