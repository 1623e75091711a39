#!/usr/bin/env bash
# Builds the Gateway API's conformance suite, its echo server and podlet, which stands in for the
# nodes of a cluster, into .tools, beside the suite's own CRDs, and prints their folder as the last
# line on stdout; everything else goes to stderr. The version and checksums are those of
# tests/conformance/go.mod and go.sum.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=$root/tests/conformance

fail() {
    printf 'install-conformance: %s\n' "$@" >&2
    exit 1
}

version=$(sed -n 's/^\tsigs.k8s.io\/gateway-api \(v[0-9.]*\).*/\1/p' "$module/go.mod")
[[ -n $version ]] || fail "$module/go.mod names no version of sigs.k8s.io/gateway-api."
# podlet and the suite's entry are files of this project: what is built of others is not theirs.
sources=$(cat "$module"/go.{mod,sum} "$module"/*.go "$module"/podlet/*.{go,mod,sum} | sha256sum | cut -c1-12)
folder=$root/.tools/conformance-${version#v}-$sources
if [[ -d $folder ]]; then
    printf '%s\n' "$folder"
    exit 0
fi
command -v go >/dev/null || fail "go is missing, and the suite is built with it." \
    "Install Go 1.26 or newer (https://go.dev/dl)."

mkdir -p "$root/.tools"
# In the same folder, so that a rename can put it in place when it is whole.
work=$(mktemp -d "$root/.tools/.conformance.XXXXXX") || fail "cannot write to $root/.tools: make it writable."
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "Building the conformance suite …" >&2
export CGO_ENABLED=0
(
    cd "$module/podlet"
    nice go build -p 2 -trimpath -ldflags '-s -w' -o "$work/podlet" .
    ln -s podlet "$work/whoami"
    cd "$module"
    nice go build -p 2 -trimpath -ldflags '-s -w' -o "$work/echo-basic" sigs.k8s.io/gateway-api/conformance/echo-basic
    nice go test -c -p 2 -o "$work/conformance.test" .
) >&2 || fail "the suite could not be built; what Go said is above." \
    "Without a network, or behind a proxy: set HTTPS_PROXY or GOPROXY for Go."
# The suite refuses to run against CRDs of another version: its own are taken.
crds=$(cd "$module" && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)/config/crd
for channel in standard experimental; do
    mkdir -p "$work/crds/$channel"
    install -m 644 "$crds/$channel"/gateway.*.yaml "$work/crds/$channel/"
done
chmod 755 "$work"
mv "$work" "$folder"
printf '%s\n' "$folder"
