#!/bin/sh
# Starts hailmesh as the main process of a container.
#
# SHARE_API=1    The node serves its API on the loopback port of HAILMESH_API__ADDR. The
#                same port is opened on the container's own addresses and carried there,
#                so that a published port and the neighbours reach it. Every request
#                still needs the token and a known Host (HAILMESH_API__ALLOW_HOSTS).
# TOKEN_NAME=X   A token of the scope `read` is put into /tokens/X when the node serves,
#                for a Prometheus that mounts /tokens. The home itself is not shared.
set -eu

if [ -n "${SHARE_API:-}" ]; then
    port=${HAILMESH_API__ADDR##*:}
    for address in $(hostname -i); do
        case $address in
        127.* | *:*) ;; # loopback is where the node listens; IPv6 is not used here
        *) socat "TCP4-LISTEN:$port,bind=$address,fork,reuseaddr,max-children=64" "TCP4:127.0.0.1:$port" & ;;
        esac
    done
fi

# Asks the running node for the token that only reads. What comes back is JSON on one
# line; the connection stays open for a second, because a half-closed one is dropped.
read_token() {
    {
        printf 'GET /v1/tokens HTTP/1.1\r\nHost: %s\r\n' "$HAILMESH_API__ADDR"
        printf 'Authorization: Bearer %s\r\nConnection: close\r\n\r\n' "$(cat "$HAILMESH_HOME/api-token")"
        sleep 1
    } | socat - "TCP4:$HAILMESH_API__ADDR" | sed -n 's/.*"read": *"\([0-9a-f]\{64\}\)".*/\1/p'
}

if [ -n "${TOKEN_NAME:-}" ]; then
    (
        umask 077
        token=
        until [ -n "$token" ]; do
            sleep 0.5
            token=$(read_token 2>/dev/null) || true
        done
        printf '%s' "$token" >"/tokens/.$TOKEN_NAME"
        mv "/tokens/.$TOKEN_NAME" "/tokens/$TOKEN_NAME"
    ) &
fi

exec hailmesh "$@"
