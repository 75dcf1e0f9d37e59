#!/usr/bin/env bash
# A private mail system for the tests: Exim (submission) and Dovecot (delivery, IMAP), on loopback.
#
#   mailstack.sh start DIR [BASE]   writes everything into DIR, starts both, prints env lines
#   mailstack.sh stop DIR           stops both; DIR stays, for its logs
#
# Ports are BASE+587 (STARTTLS), BASE+465 (TLS), BASE+993 (IMAP over TLS); BASE is 23000 unless given
# or set as MAILSTACK_BASE. It runs as the caller, or as `nobody` when the caller is root. The tests
# read DIR/env; POSTRIDER_TEST_MAIL names DIR to them. Exit 3: packages are missing.
#
# Every password is "secret". Mail to bob@remote.test and carol@remote.test arrives (also to
# bob+anything), mail to anything@grey.test arrives at bob's on the second attempt, and
# REASON@fail.test is refused as the tables `refuse_*` below say.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin # where Debian keeps daemons, and ordinary users do not look
packages="exim4-daemon-light dovecot-core dovecot-imapd dovecot-lmtpd openssl"

fail() { echo "mailstack: $1" >&2; exit "${2:-1}"; }
[ $# -ge 2 ] || fail "usage: mailstack.sh start DIR [BASE] | stop DIR" 2
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
base=${3:-${MAILSTACK_BASE:-23000}}
starttls=$((base + 587)) smtps=$((base + 465)) imaps=$((base + 993))

exim=$(command -v exim4 || true) dovecot=$(command -v dovecot || true)

# Exim and Dovecot step down by themselves only with a system installation; here nobody is special.
if [ "$(id -u)" = 0 ]; then
  user=nobody group=$(id -gn nobody)
  run_as=(setpriv --reuid "$user" --regid "$group" --clear-groups)
else
  user=$(id -un) group=$(id -gn) run_as=(env)
fi

running() { # PIDFILE: is its process there, and no zombie?
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ -r "/proc/$pid/stat" ] &&
    [ "$(sed 's/.*) //' "/proc/$pid/stat" | cut -c1)" != Z ]
}

wait_until() { # SECONDS COMMAND...
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done
}

certificates() { # a CA and a leaf: rustls takes no CA for a leaf
  [ ! -s "$dir/tls/key.pem" ] || return 0
  local ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  openssl req -x509 "${ec[@]}" -days 30 -subj "/CN=mailstack CA" -out "$dir/tls/ca.pem" \
    -keyout "$dir/tls/ca.key" -addext "basicConstraints=critical,CA:TRUE"
  openssl req "${ec[@]}" -subj /CN=localhost -keyout "$dir/tls/key.pem" -out "$dir/tls/leaf.csr"
  openssl x509 -req -in "$dir/tls/leaf.csr" -CA "$dir/tls/ca.pem" -CAkey "$dir/tls/ca.key" \
    -CAcreateserial -days 30 -out "$dir/tls/leaf.pem" -extfile <(
      echo "subjectAltName=DNS:localhost,IP:127.0.0.1"; echo "extendedKeyUsage=serverAuth")
  cat "$dir/tls/leaf.pem" "$dir/tls/ca.pem" >"$dir/tls/chain.pem"
}

tables() { # who is there, and who is refused how
  # The colons at the end make Dovecot take the line for a user, not only for a password.
  for address in alice@sender.test capped@sender.test bob@remote.test carol@remote.test; do
    echo "$address:{PLAIN}secret::::::"
  done >"$dir/users"
  cat >"$dir/refuse_mail" <<'T'
capped: 550 5.4.5 Daily user sending limit exceeded.
T
  cat >"$dir/refuse_rcpt_4" <<'T'
tempfail: 451 4.3.0 Temporary system problem
overquota: 452 4.2.2 The recipient's inbox is out of storage space
throttled: 421 4.7.28 An unusual rate of unsolicited mail comes from your address
shutdown: 421 4.3.2 Service not available, closing transmission channel
toofast: 450 4.2.1 The user is receiving mail too quickly
T
  cat >"$dir/refuse_rcpt_5" <<'T'
disabled: 550 5.2.1 The email account that you tried to reach is disabled
full: 552 5.2.2 Mailbox full
moved: 551 5.1.6 User not local
nullmx: 556 5.1.10 Recipient address has a null MX
blocked: 550 5.7.1 Client host blocked using a list (S3140)
bare: 550 Requested action not taken: mailbox unavailable
policy: 554 5.7.9 Message not accepted for policy reasons
odd: 554 5.5.1 That is odd
T
  cat >"$dir/refuse_data_4" <<'T'
dataslow: 451 4.3.0 Mail server temporarily rejected message
T
  cat >"$dir/refuse_data_5" <<'T'
spam: 550 5.7.1 This message is likely unsolicited mail
dmarc: 550 5.7.26 This mail has been blocked because the sender is unauthenticated
form: 554 5.6.0 Corrupt message
T
}

dovecot_conf() {
  cat >"$dir/dovecot.conf" <<C
base_dir = $dir/run/dovecot
state_dir = $dir/run/state
instance_name = postrider-tests-$base
log_path = $dir/log/dovecot.log
listen = 127.0.0.1
protocols = imap lmtp
default_internal_user = $user
default_internal_group = $group
default_login_user = $user
default_vsz_limit = 0
first_valid_uid = 1
ssl = required
ssl_cert = <$dir/tls/chain.pem
ssl_key = <$dir/tls/key.pem
auth_failure_delay = 0
mail_location = maildir:$dir/mail/%Ld/%Ln
mail_fsync = never
recipient_delimiter = +
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%Lu $dir/users
}
userdb {
  driver = passwd-file
  args = username_format=%Lu $dir/users
  override_fields = uid=$user gid=$group home=$dir/mail/%Ld/%Ln
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = $imaps
    ssl = yes
  }
}
service lmtp {
  unix_listener lmtp {
    mode = 0600
  }
}
protocol imap {
  mail_max_userip_connections = 100
}
protocol lmtp {
  postmaster_address = postmaster@sender.test
}
C
}

exim_conf() {
  cat >"$dir/exim.conf" <<C
primary_hostname = mx.test
exim_user = $user
exim_group = $group
admin_groups = $group
trusted_users = $user
never_users =
deliver_drop_privilege
keep_environment =
spool_directory = $dir/spool
log_file_path = $dir/log/exim-%slog
pid_file_path = $dir/run/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = $starttls : $smtps
tls_on_connect_ports = $smtps
tls_advertise_hosts = *
tls_certificate = $dir/tls/chain.pem
tls_privatekey = $dir/tls/key.pem
message_size_limit = 1M
smtp_accept_max = 100
smtp_accept_max_per_host = 0
smtp_accept_queue_per_connection = 0
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data
begin acl
mail:
  deny !authenticated = *
       message = 530 5.7.0 Authentication required
  deny condition = \${if !eqi{\$sender_address}{\$authenticated_id}}
       message = 553 5.7.1 Sender address rejected: not owned by user \$authenticated_id
  deny condition = \${lookup{\$sender_address_local_part}lsearch{$dir/refuse_mail}{yes}{no}}
       message = \${lookup{\$sender_address_local_part}lsearch{$dir/refuse_mail}}
  accept
rcpt:
  drop domains = fail.test
       local_parts = hangup
       condition = \${run{/bin/kill -9 \$pid}{yes}{yes}}
  defer domains = fail.test
       condition = \${lookup{\$local_part}lsearch{$dir/refuse_rcpt_4}{yes}{no}}
       message = \${lookup{\$local_part}lsearch{$dir/refuse_rcpt_4}}
  deny domains = fail.test
       condition = \${lookup{\$local_part}lsearch{$dir/refuse_rcpt_5}{yes}{no}}
       message = \${lookup{\$local_part}lsearch{$dir/refuse_rcpt_5}}
  accept domains = fail.test
       set acl_m_reason = \$local_part
  defer domains = grey.test
       !seen = -1s / key=\${sender_address}_\${local_part}
       message = 451 4.7.1 Greylisted, please try again in 1 second
  accept domains = grey.test
  deny domains = ! sender.test : ! remote.test
       message = 550 5.1.2 Recipient address rejected: Domain not found
  deny !verify = recipient
       message = 550 5.1.1 Recipient address rejected: User unknown
  accept
data:
  defer condition = \${lookup{\$acl_m_reason}lsearch{$dir/refuse_data_4}{yes}{no}}
       message = \${lookup{\$acl_m_reason}lsearch{$dir/refuse_data_4}}
  deny condition = \${lookup{\$acl_m_reason}lsearch{$dir/refuse_data_5}{yes}{no}}
       message = \${lookup{\$acl_m_reason}lsearch{$dir/refuse_data_5}}
  accept
begin routers
grey:
  driver = redirect
  domains = grey.test
  data = bob@remote.test
local:
  driver = accept
  local_part_suffix = +*
  local_part_suffix_optional
  condition = \${lookup{\${lc:\$local_part@\$domain}}lsearch{$dir/users}{yes}{no}}
  transport = dovecot
begin transports
dovecot:
  driver = lmtp
  socket = $dir/run/dovecot/lmtp
  rcpt_include_affixes
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_set_id = \${lc:\$auth2}
  server_condition = \${if eq{\${extract{1}{:}{\${lookup{\${lc:\$auth2}}lsearch{$dir/users}}}}}{\{PLAIN\}\$auth3}}
  server_advertise_condition = \${if def:tls_in_cipher}
C
}

start() {
  [ -n "$exim" ] && [ -n "$dovecot" ] && command -v openssl >/dev/null ||
    fail "missing packages; apt-get install -y --no-install-recommends $packages" 3
  running "$dir/run/exim.pid" && fail "already running in $dir"
  "${run_as[@]}" test -x "$dir" || fail "$user cannot enter $dir; choose a directory under /tmp"
  mkdir -p "$dir"/{tls,mail,run/dovecot,spool,log}
  certificates >"$dir/log/openssl.log" 2>&1 || fail "openssl failed, see $dir/log/openssl.log"
  tables
  dovecot_conf
  exim_conf
  cat >"$dir/env" <<E
MAIL_HOST=localhost
MAIL_STARTTLS_PORT=$starttls
MAIL_TLS_PORT=$smtps
MAIL_IMAPS_PORT=$imaps
MAIL_CA=$dir/tls/ca.pem
E
  [ "$(id -u)" != 0 ] || chown -R "$user:$group" "$dir"
  # Away from our standard output: a caller that captures it would wait for the daemons.
  "${run_as[@]}" "$dovecot" -c "$dir/dovecot.conf" </dev/null >"$dir/log/start.log" 2>&1 ||
    fail "dovecot did not start, see $dir/log/start.log"
  "${run_as[@]}" "$exim" -C "$dir/exim.conf" -bd -q10s </dev/null >>"$dir/log/start.log" 2>&1 ||
    { stop; fail "exim did not start, see $dir/log/start.log"; }
  local port
  for port in $starttls $smtps $imaps; do
    wait_until 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" 2>/dev/null ||
      { stop; fail "nothing listens on port $port, see $dir/log"; }
  done
  echo "POSTRIDER_TEST_MAIL=$dir"
}

stop() {
  local file pid
  for file in "$dir/run/exim.pid" "$dir/run/dovecot/master.pid"; do
    running "$file" || continue
    pid=$(cat "$file")
    kill "$pid"
    wait_until 5 bash -c "! kill -0 $pid 2>/dev/null" || kill -9 "$pid" 2>/dev/null || true
  done
  rm -f "$dir/run/exim.pid"
}

case $verb in
  start) start ;;
  stop) stop ;;
  *) fail "usage: mailstack.sh start DIR [BASE] | stop DIR" 2 ;;
esac
