#!/bin/bash
# A plain, real Kubernetes API on this machine: etcd, kube-apiserver and a few
# controllers, each on a free loopback port. No nodes, so no Pod ever runs.
#
#   api.sh start DIR    starts it and writes DIR/kubeconfig (cluster-admin)
#   api.sh stop  DIR    stops it and removes DIR/etcd
#
# Environment:
#   KUBERNETES_BIN  folder with etcd, kube-apiserver, kube-controller-manager
#   API_ADDRESS  address the API server binds and advertises (default 127.0.0.1).
#              Any other address also gets the endpoints of the Service
#              default/kubernetes, so that Pods can reach the API through it.
#   API_CONTROLLERS  comma-separated list for kube-controller-manager
set -euo pipefail
bin=${KUBERNETES_BIN:?}
addr=${API_ADDRESS:-127.0.0.1}
# Deployments, ReplicaSets and so on make Pods; a test that needs only the API
# pays nothing for them. Without the namespace controller a deleted namespace
# stays for ever; without root-ca no Pod can mount its service account.
controllers=${API_CONTROLLERS:-namespace-controller,garbage-collector-controller,\
serviceaccount-controller,root-ca-certificate-publisher-controller,\
endpoints-controller,endpointslice-controller,deployment-controller,\
replicaset-controller,statefulset-controller,daemonset-controller,\
job-controller,resourcequota-controller,clusterrole-aggregation-controller,\
validatingadmissionpolicy-status-controller}

die() { echo "api: $*" >&2; exit 1; }

free_port() {
  local p
  while :; do
    p=$((20000 + RANDOM % 12000)) # below the kernel's ephemeral range
    [ -n "$(ss -Hltn "sport = :$p")" ] || { echo $p; return; }
  done
}

# launch NAME COMMAND...: in the background, output in NAME.log, pid in NAME.pid
launch() {
  local name=$1; shift
  "$@" >"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}

# alive NAME: true if the process that we started under that name still runs.
alive() {
  local pid; pid=$(cat "$dir/$1.pid" 2>/dev/null) || return 1
  [ "$(basename "$(readlink "/proc/$pid/exe" 2>/dev/null)")" = "$1" ]
}

stop() {
  local name n
  for name in kube-controller-manager kube-apiserver etcd; do
    if alive $name; then
      kill "$(cat "$dir/$name.pid")" 2>/dev/null || true
      # Nothing here is worth a graceful end: 2 s, then by force.
      for n in $(seq 20); do alive $name || break; sleep 0.1; done
      if alive $name; then kill -9 "$(cat "$dir/$name.pid")" 2>/dev/null || true; fi
    fi
    rm -f "$dir/$name.pid"
  done
  rm -rf "$dir/etcd"
}

# Returns non-zero if something did not come up (a port taken meanwhile, say).
start() {
  local etcd_port peer_port api_port token n
  etcd_port=$(free_port); peer_port=$(free_port); api_port=${API_PORT:-$(free_port)}
  mkdir -p "$dir/pki"; chmod 700 "$dir"
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" >"$dir/pki/tokens.csv"
  [ -s "$dir/pki/sa.key" ] ||
    openssl ecparam -name prime256v1 -genkey -noout -out "$dir/pki/sa.key" 2>/dev/null

  # No fsync: the data is thrown away, and disks of test machines are slow.
  launch etcd "$bin/etcd" --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$etcd_port" \
    --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "default=http://127.0.0.1:$peer_port"

  # The server makes itself a self-signed certificate (apiserver.crt) for its
  # address, the first Service address and kubernetes.default.svc; clients use
  # that very certificate as their CA.
  local reconciler=master-count
  case $addr in 127.*) reconciler=none ;; esac # loopback is no valid endpoint
  launch kube-apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd_port" \
    --bind-address "$addr" --advertise-address "$addr" --secure-port "$api_port" \
    --cert-dir "$dir/pki" --token-auth-file "$dir/pki/tokens.csv" \
    --service-cluster-ip-range 10.96.0.0/16 --endpoint-reconciler-type $reconciler \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$dir/pki/sa.key" \
    --service-account-signing-key-file "$dir/pki/sa.key" \
    --authorization-mode RBAC --allow-privileged \
    --enable-priority-and-fairness=false --profiling=false

  for n in $(seq 300); do
    alive kube-apiserver && alive etcd || return 1
    if curl -fsSk --max-time 2 "https://$addr:$api_port/readyz" >/dev/null 2>&1; then break; fi
    sleep 0.1
  done
  [ "$n" -lt 300 ] || return 1

  cat >"$dir/kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: conformance
contexts: [{name: conformance, context: {cluster: conformance, user: admin}}]
clusters:
- name: conformance
  cluster:
    server: https://$addr:$api_port
    certificate-authority-data: $(base64 -w0 <"$dir/pki/apiserver.crt")
users: [{name: admin, user: {token: $token}}]
YAML
  launch kube-controller-manager "$bin/kube-controller-manager" \
    --kubeconfig "$dir/kubeconfig" --leader-elect=false --secure-port 0 \
    --service-account-private-key-file "$dir/pki/sa.key" \
    --root-ca-file "$dir/pki/apiserver.crt" --controllers "$controllers" --profiling=false

  # The API is usable once the first controllers have done their work: a Pod
  # made earlier is refused because its service account is not there yet.
  for n in $(seq 200); do
    alive kube-controller-manager || return 1
    if curl -fsSk --max-time 2 -H "Authorization: Bearer $token" \
      "https://$addr:$api_port/api/v1/namespaces/default/serviceaccounts/default" >/dev/null 2>&1
    then return 0; fi
    sleep 0.1
  done
  return 1
}

[ $# -eq 2 ] || die "usage: api.sh start|stop DIR"
mkdir -p "$2"; dir=$(cd "$2" && pwd)
case $1 in
  start)
    for b in etcd kube-apiserver kube-controller-manager; do
      [ -x "$bin/$b" ] || die "$bin/$b is missing: build it with scripts/install-kubernetes.sh"
      if alive $b; then die "$dir already has a running $b: stop it first"; fi
    done
    for try in 1 2 3; do
      if start; then exit 0; fi
      cp "$dir"/*.log "$dir/pki" 2>/dev/null || true # kept for a look
      stop
    done
    tail -n 5 "$dir"/*.log >&2; die "the API did not start; logs in $dir" ;;
  stop) stop ;;
  *) die "usage: api.sh start|stop DIR" ;;
esac
