#!/usr/bin/env bash
# Finds envoyproxy/ratelimit, which the rate limit service of nuncio is compared with, or builds it
# with Go into .tools, and prints its path as the last line on stdout; everything else goes to stderr.
# RATELIMIT=/path/to/ratelimit takes that one instead and builds nothing.
#
# The version is that of tests/ratelimit/go.mod; Go's own sums check what it gets.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    printf 'install-ratelimit: %s\n' "$@" >&2
    exit 1
}

if [[ -n ${RATELIMIT:-} ]]; then
    [[ -x $RATELIMIT ]] || fail "RATELIMIT is set to $RATELIMIT, which is no program: correct it, or unset it."
    printf '%s\n' "$RATELIMIT"
    exit 0
fi

module=$root/tests/ratelimit
version=$(sed -n 's|.*github.com/envoyproxy/ratelimit \(v[^ ]*\).*|\1|p' "$module/go.mod")
[[ -n $version ]] || fail "there is no version of github.com/envoyproxy/ratelimit in $module/go.mod."
folder=$root/.tools/ratelimit-$version
# It gets its name only when it is whole.
if [[ ! -x $folder/ratelimit ]]; then
    help="Install Go (https://go.dev/dl), or set RATELIMIT to the path of an envoyproxy/ratelimit."
    command -v go >/dev/null || fail "envoyproxy/ratelimit is built with Go, which is not installed." "$help"
    mkdir -p "$folder" || fail "cannot create $folder: make it writable." "$help"
    work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable." "$help"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    echo "Building envoyproxy/ratelimit $version (some minutes) …" >&2
    go build -C "$module" -mod=readonly -trimpath -buildvcs=false -o "$work/ratelimit" \
        github.com/envoyproxy/ratelimit/src/service_cmd >&2 ||
        fail "envoyproxy/ratelimit does not build; what go said is above." "$help"
    mv -f "$work/ratelimit" "$folder/ratelimit"
fi
printf '%s\n' "$folder/ratelimit"
