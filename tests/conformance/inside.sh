#!/usr/bin/env bash
# The first process of the namespaces that run.sh makes. Not for direct use.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export NODE_IP=10.0.0.1 API_ADDRESS=10.0.0.1 API_PORT=6443 KUBECONFIG=$OUT/api/kubeconfig
# Addresses that Gateways may be given; podlet has the rest of that network.
gateways=172.30.0.100-172.30.0.199
usable=172.30.0.150
unusable=198.51.100.1

say() { echo "conformance: $*" >&2; }

fail() {
    say "$@"
    exit 2
}

ip link set lo up
ip addr add "$NODE_IP/32" dev lo
# What runs here finds the names of the cluster as a pod does.
printf 'nameserver %s\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' \
    "$NODE_IP" >"$OUT/resolv.conf"
mount --bind "$OUT/resolv.conf" "$(realpath /etc/resolv.conf)"

"$here/api.sh" start "$OUT/api" || fail "no Kubernetes API; see $OUT/api"
export BIN=$CONFORMANCE_BIN
"$BIN/podlet" run -kubeconfig "$KUBECONFIG" -images "$here/images.conf" -dir "$OUT/node" \
    -node-ip "$NODE_IP" -path "$BIN" >"$OUT/podlet.log" 2>&1 &
for _ in $(seq 200); do
    [[ ! -e $OUT/node/ready ]] || break
    sleep 0.1
done
[[ -e $OUT/node/ready ]] || fail "podlet does not start; see $OUT/podlet.log"
cat >"$OUT/class.yaml" <<'YAML'
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: conformance}
spec: {controllerName: getambassador.io/gateway-controller}
YAML
"$BIN/podlet" apply -kubeconfig "$KUBECONFIG" "$BIN/crds/$CHANNEL" "$OUT/class.yaml" ||
    fail "the CRDs were refused"

NUNCIO_STATUS_WRITES=200 "$NUNCIO" run --kubeconfig "$KUBECONFIG" --gateway-addresses "$gateways" \
    --gateway-services ClusterIP --state-dir "$OUT/state" >"$OUT/nuncio.log" 2>&1 </dev/null &
nuncio=$!
# The suite reads there what nuncio says that it can.
class=https://$API_ADDRESS:$API_PORT/apis/gateway.networking.k8s.io/v1/gatewayclasses/conformance
token=$(cut -d, -f1 "$OUT/api/pki/tokens.csv")
says_features() { [[ $(curl -fsSk -H "Authorization: Bearer $token" "$class") == *'"supportedFeatures"'* ]]; }
for _ in $(seq 300); do
    ! says_features || break
    sleep 0.1
done
says_features || fail "nuncio does not say what it can; see $OUT/nuncio.log"
say "the suite runs; its log is $OUT/suite.log"
status=0
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../../Cargo.toml")
"$BIN/conformance.test" -test.v -test.run '^TestConformance$' -test.timeout 20m \
    -gateway-class=conformance -cleanup-base-resources=false \
    -usable-address="$usable" -unusable-address="$unusable" \
    -report-output="$OUT/report.yaml" -organization=nuncio -project=nuncio \
    -url=https://nuncio.example -version="$version" -contact=maintainers \
    "$@" >"$OUT/suite.log" 2>&1 || status=$?
# A line for each test, without its parts.
sed -n 's/^ *--- \(PASS\|FAIL\|SKIP\): TestConformance\/\([^/ ]*\) (\(.*\))$/\1 \2 \3/p' \
    "$OUT/suite.log" >"$OUT/results.txt"
count() { grep -c "^$1" "$OUT/results.txt" || true; }
grep '^FAIL' "$OUT/results.txt" || true
passed=$(count PASS)
failed=$(count FAIL)
if [[ $status -ne 0 && $failed -eq 0 ]]; then
    # It broke off outside of any test.
    grep -E -m 20 'Error:|Messages:|panic:|FATAL|^FAIL|error ' "$OUT/suite.log" >&2 || tail -20 "$OUT/suite.log" >&2
fi
if [[ $status -eq 0 && $passed -eq 0 ]]; then
    say "no test was run"
    status=3
fi
if ! kill -0 "$nuncio" 2>/dev/null; then
    say "nuncio has ended by itself:"
    tail -5 "$OUT/nuncio.log" >&2
    [[ $status -ne 0 ]] || status=4
fi
echo "conformance: $passed passed, $failed failed, $(count SKIP) skipped; the report is $OUT/report.yaml"
exit "$status"
