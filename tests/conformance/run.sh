#!/usr/bin/env bash
# Runs the Gateway API's conformance suite against nuncio and a real Kubernetes API, in a private
# network, mount and PID namespace: everything in it ends with this script, and nothing of the
# machine's own network is touched.
#
#   run.sh OUT [ARGUMENT...]     ARGUMENTs are the suite's own, such as -run-test=HTTPRouteWeight
#
# OUT gets report.yaml (the official report), results.txt (a line for each test), and logs.
# Environment: NUNCIO, NUNCIO_ENVOY, KUBERNETES_BIN, CONFORMANCE_BIN and NFT name the programs.
# PROFILES are the suite's, with commas, by default all that are for gateways; which features are tested
# nuncio says, in the status of its GatewayClass. CHANNEL is that of the CRDs, standard or experimental.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    printf 'conformance: %s\n' "$@" >&2
    exit 2
}

[[ $# -ge 1 ]] || fail "say where the report goes: run.sh OUT [ARGUMENT...]"
OUT=$(realpath -m "$1")
shift
: "${NUNCIO:?}" "${NUNCIO_ENVOY:?}" "${KUBERNETES_BIN:?}" "${CONFORMANCE_BIN:?}"
: "${PROFILES:=GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP,GATEWAY-UDP}"
[[ -z ${NFT:-} ]] || PATH=$(dirname "$NFT"):$PATH
for program in ip nft openssl curl unshare nsenter ss; do
    command -v "$program" >/dev/null ||
        fail "$program is missing. Install iproute2, nftables, openssl, curl and util-linux."
done
user=()
[[ $(id -u) == 0 ]] || user=(--user --map-root-user)
# Whatever becomes of this script, what runs inside ends with it.
namespaces=(unshare "${user[@]}" --net --mount --pid --fork --kill-child --mount-proc)
# All that the kernel may withhold, tried before it is a strange failure of some test.
"${namespaces[@]}" bash -c 'ip link add one type veth peer name other && sysctl=/proc/sys/net/ipv4/ip_forward &&
    echo 1 >$sysctl && nft -f - && mount --bind /dev/null /etc/resolv.conf' <<'RULES' ||
table ip a {
    chain b { type nat hook output priority -100; numgen random mod 2 vmap { 0 : goto c, 1 : goto c }; }
    chain c { meta l4proto tcp dnat to 127.0.0.1:1; }
}
RULES
    fail "this machine does not let the suite have a network of its own; what it said is above." \
        "It takes root or user namespaces, veth and nf_tables of the kernel, and in a container CAP_SYS_ADMIN and" \
        "CAP_NET_ADMIN: a container that is privileged."
if [[ -d $OUT && ! -e $OUT/.conformance && -n $(ls -A "$OUT") ]]; then
    fail "$OUT has something else in it: name another folder."
fi
rm -rf "$OUT"
mkdir -p "$OUT"
touch "$OUT/.conformance"
NUNCIO=$(realpath "$NUNCIO")
export NUNCIO OUT CHANNEL=${CHANNEL:-experimental}
exec "${namespaces[@]}" "$here/inside.sh" "-conformance-profiles=$PROFILES" "$@"
