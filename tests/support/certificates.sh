#!/usr/bin/env bash
# Makes an authority (ca.pem), and certificates of it for a server on loopback (server.pem, server.key)
# and for a client (client.pem, client.key), in DIR.
set -euo pipefail
cd "${1:?DIR}"

curve() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

curve ca.key
openssl req -x509 -new -key ca.key -subj '/CN=an authority of the tests' -days 2 -out ca.pem \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign'
for name in server client; do
    curve "$name.key"
    openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' > "$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
        -extfile "$name.ext" -out "$name.pem"
done
