#!/usr/bin/env bash
# Finds the Consul that the tests ask, or builds it with Go into .tools, and prints its path as the last
# line on stdout; everything else goes to stderr. CONSUL=/path/to/consul takes another and builds nothing.
#
# The version is that of tests/consul/go.mod; Go's own sums check what it gets.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    printf 'install-consul: %s\n' "$@" >&2
    exit 1
}

if [[ -n ${CONSUL:-} ]]; then
    [[ -x $CONSUL ]] || fail "CONSUL is set to $CONSUL, which is no program: correct it, or unset it."
    printf '%s\n' "$CONSUL"
    exit 0
fi

module=$root/tests/consul
version=$(sed -n 's|^\tgithub.com/hashicorp/consul \(v[^ ]*\).*|\1|p' "$module/go.mod")
[[ -n $version ]] || fail "there is no version of github.com/hashicorp/consul in $module/go.mod."
folder=$root/.tools/consul-$version
# It gets its name only when it is whole.
if [[ ! -x $folder/consul ]]; then
    help="Install Go 1.26 or newer (https://go.dev/dl), or set CONSUL to the path of a consul."
    command -v go >/dev/null || fail "Consul is built with Go, which is not installed." "$help"
    mkdir -p "$folder" || fail "cannot create $folder: make it writable." "$help"
    work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable." "$help"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    echo "Building Consul $version (some minutes) …" >&2
    CGO_ENABLED=0 go build -C "$module" -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w" -o "$work/consul" \
        github.com/hashicorp/consul >&2 ||
        fail "Consul does not build; what go said is above." "$help"
    mv -f "$work/consul" "$folder/consul"
fi
printf '%s\n' "$folder/consul"
