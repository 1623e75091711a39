#!/usr/bin/env bash
# Holds the Gateway API's conformance suite to what is left behind and what is found: no test may need another
# before it, or be in the way of one after it.
#
#   orders.sh shuffled OUT [SEED]   all tests twice in a row beside one nuncio, each time in another random order
#   orders.sh alone OUT [TEST...]   each test with a Kubernetes API and a nuncio of its own; all that pass in the
#                                   suite's own order, which is run first, or those that are named
#
# OUT gets a folder for each run, as run.sh makes it; the environment is that of run.sh. JOBS are run at once
# (default: as many as there are processors).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    printf 'conformance: %s\n' "$@" >&2
    exit 2
}

[[ $# -ge 2 ]] || fail "say what is run and where its reports go: orders.sh shuffled OUT, or orders.sh alone OUT"
how=$1
out=$(realpath -m "$2")
shift 2
mkdir -p "$out"

shuffled() {
    local seed=${1:-$((RANDOM * 32768 + RANDOM + 1))}
    echo "conformance: in random orders of SEED=$seed"
    "$here/run.sh" "$out/shuffled" -seed="$seed" -test.count=2
}

alone() {
    if [[ $# -eq 0 ]]; then
        "$here/run.sh" "$out/all"
        mapfile -t names < <(sed -n 's/^PASS \([^ ]*\) .*/\1/p' "$out/all/results.txt")
        set -- "${names[@]}"
    fi
    export here out
    # Folders are numbered: the path of a Unix socket below one has room for no name of a test.
    # shellcheck disable=SC2016 # for the shells below
    printf '%s\n' "$@" | cat -n | xargs -P "${JOBS:-$(nproc)}" -L 1 bash -c '
        if "$here/run.sh" "$out/alone/$0" -run-test="$1" >"$out/alone-$1.log" 2>&1; then
            rm -rf "$out/alone/$0" "$out/alone-$1.log"
        else
            echo "conformance: alone $1 fails; see $out/alone-$1.log" >&2
            exit 1
        fi'
    echo "conformance: $# tests passed, each for itself"
}

case $how in
    shuffled) shuffled "$@" ;;
    alone) alone "$@" ;;
    *) fail "what is run is shuffled or alone, not $how" ;;
esac
