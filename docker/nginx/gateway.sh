#!/bin/sh
# Starts nginx on the replicas there are, and tells it whenever others are there. nginx looks a name up once, and hashes
# the name and not the addresses behind it, so the addresses are listed for it.
set -eu

EVERY_SECONDS=2
GRACE_SECONDS=5

addresses() {
    getent ahostsv4 "$REPLICAS" | cut -d ' ' -f 1 | sort -u
}

upstream() { # name, port, addresses
    echo "upstream $1 {"
    echo "    hash \$session_key consistent;"
    for address in $3; do
        echo "    server $address:$2 max_fails=1 fail_timeout=2s;"
    done
    echo "    keepalive 128;"
    echo "}"
}

write() {
    { upstream replicas 8000 "$1"; upstream replicas_grpc 8001 "$1"; } > /tmp/replicas.conf
}

# Where no name is answered, the replicas that were known are kept.
watch() {
    while sleep "$EVERY_SECONDS"; do
        found=$(addresses) || continue
        if [ -n "$found" ] && [ "$found" != "$known" ]; then
            known=$found
            write "$known"
            nginx -c /etc/unroll/nginx.conf -s reload
            echo "replicas: $(echo "$known" | tr '\n' ' ')"
        fi
    done
}

# Requests get a moment to finish; a WebSocket would never.
stop() {
    nginx -c /etc/unroll/nginx.conf -s quit
    for _ in $(seq "$GRACE_SECONDS"); do
        kill -0 "$server" 2>/dev/null || exit 0
        sleep 1
    done
    nginx -c /etc/unroll/nginx.conf -s stop
}

known=$(addresses)
until [ -n "$known" ]; do
    sleep 1
    known=$(addresses)
done
write "$known"
echo "replicas: $(echo "$known" | tr '\n' ' ')"
nginx -c /etc/unroll/nginx.conf -g 'daemon off;' &
server=$!
watch &
trap stop TERM INT
wait "$server"
