#!/usr/bin/env bash
# Runs the Gateway API's conformance suite against nuncio and a real Kubernetes API, in a private
# network, mount and PID namespace: everything in it ends with this script, and nothing of the
# machine's own network is touched.
#
#   run.sh OUT [ARGUMENT...]     ARGUMENTs are the suite's own, such as -run-test=HTTPRouteWeight
#
# OUT gets report.yaml (the official report), results.txt (a line for each test), and logs.
# Environment: NUNCIO, NUNCIO_ENVOY, KUBERNETES_BIN and CONFORMANCE_BIN name the programs.
# PROFILES are the suite's, with commas; which features are tested nuncio says, in the status of its
# GatewayClass. CHANNEL is that of the CRDs, standard or experimental.
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
for program in ip nft openssl curl unshare nsenter ss; do
    command -v "$program" >/dev/null ||
        fail "$program is missing. Install iproute2, nftables, openssl, curl and util-linux."
done
if [[ -d $OUT && ! -e $OUT/.conformance && -n $(ls -A "$OUT") ]]; then
    fail "$OUT has something else in it: name another folder."
fi
rm -rf "$OUT"
mkdir -p "$OUT"
touch "$OUT/.conformance"
NUNCIO=$(realpath "$NUNCIO")
export NUNCIO OUT CHANNEL=${CHANNEL:-experimental}
arguments=()
[[ -z ${PROFILES:-} ]] || arguments+=("-conformance-profiles=$PROFILES")
user=()
[[ $(id -u) == 0 ]] || user=(--user --map-root-user)
# Whatever becomes of this script, what runs inside ends with it.
exec unshare "${user[@]}" --net --mount --pid --fork --kill-child --mount-proc \
    "$here/inside.sh" "${arguments[@]}" "$@"
