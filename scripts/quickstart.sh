#!/usr/bin/env bash
# Starts the gateway on examples/quickstart with two small upstreams behind it, waits until it
# serves, and says what to try. Ctrl-C ends all of it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked -p nuncio -p nuncio-echo
envoy=$(scripts/install-envoy.sh)
bin=${CARGO_TARGET_DIR:-target}/release

# Prints the status of a GET, nothing when nobody listens.
http_status() { # port path
    local status=
    {
        printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3 &&
            IFS=' ' read -r _ status _ <&3
        exec 3>&-
    } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1" || true
    echo "$status"
}

ports=(8877 9001 9002)
# An Envoy that a killed gateway left behind holds 8080, and is taken over.
[[ -e .state/quickstart/envoy.json ]] || ports+=(8080)
for port in "${ports[@]}"; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "Port $port is in use. Stop what listens there (ss -ltnp 'sport = :$port' names it) and run 'make run' again." >&2
        exit 1
    fi
done

pids=()
stop() {
    trap - EXIT INT TERM
    ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null || true
    wait || true
}
trap stop EXIT
trap 'stop; exit 0' INT TERM

"$bin/nuncio-echo" --listen 127.0.0.1:9001=quote --listen 127.0.0.1:9002=hello &
pids+=($!)
"$bin/nuncio" run --manifests examples/quickstart --state-dir .state/quickstart --envoy "$envoy" &
gateway=$!
pids+=("$gateway")

until [[ $(http_status 8877 /ambassador/v0/check_ready 2>/dev/null) == 200 ]]; do
    if ! kill -0 "$gateway" 2>/dev/null; then
        echo "The gateway ended before it was ready; what it said is above." >&2
        exit 1
    fi
    sleep 0.1
done

cat <<'TRY'

nuncio serves examples/quickstart on port 8080. In another terminal, try:

  1. A request, through Envoy, to the Service that the Mapping names:
       curl http://127.0.0.1:8080/backend/

  2. Send it elsewhere; nothing is dropped, and the next request is answered by "hello":
       sed -i 's/service: quote/service: hello/' examples/quickstart/mapping.yaml
       curl http://127.0.0.1:8080/backend/

  3. Write something wrong and see what nuncio says; everything else goes on:
       sed -i 's/prefix: .*/prefx: \/backend\//' examples/quickstart/mapping.yaml
       curl 'http://127.0.0.1:8877/ambassador/v0/diag/?json=true&filter=errors'
     (git checkout examples/quickstart puts it back)

Ctrl-C ends it.

TRY
wait "$gateway"
