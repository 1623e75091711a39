#!/usr/bin/env bash
# Builds the Kubernetes API that the tests run against, kube-apiserver, kube-controller-manager and
# etcd, and kubectl into .tools, and prints their folder as the last line on stdout; everything else goes to
# stderr. Quick when they are there already; the first time it takes some ten minutes and 3 GB of
# Go's cache. The versions and checksums are those of tests/kubernetes/go.mod and go.sum.
# KUBERNETES_BIN=/path/to/folder takes the programs in there instead and builds nothing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=$root/tests/kubernetes
programs=(kube-apiserver kube-controller-manager etcd kubectl)

fail() {
    printf 'install-kubernetes: %s\n' "$@" >&2
    exit 1
}

has_all() { # folder
    local program
    for program in "${programs[@]}"; do
        [[ -x $1/$program ]] || return 1
    done
}

if [[ -n ${KUBERNETES_BIN:-} ]]; then
    has_all "$KUBERNETES_BIN" || fail "KUBERNETES_BIN is set to $KUBERNETES_BIN, which lacks one of ${programs[*]}: correct it, or unset it to build them."
    printf '%s\n' "$KUBERNETES_BIN"
    exit 0
fi

version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$module/go.mod")
[[ -n $version ]] || fail "$module/go.mod names no version of k8s.io/kubernetes."
folder=$root/.tools/kubernetes-${version#v}
# They get their names only when they are whole.
if has_all "$folder"; then
    printf '%s\n' "$folder"
    exit 0
fi

command -v go >/dev/null || fail "go is missing, and the Kubernetes API for the tests is built with it." \
    "Install Go 1.26 or newer (https://go.dev/dl), or set KUBERNETES_BIN to a folder with ${programs[*]}."

mkdir -p "$folder" || fail "cannot create $folder: make it writable, or set KUBERNETES_BIN to a folder with ${programs[*]}."
# In the same folder, so that a rename can put them in place.
work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable."
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Without these the servers call themselves v0.0.0, which misleads clients that ask.
package=k8s.io/component-base/version
minor=${version#v1.}
minor=${minor%%.*}
flags="-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor
    -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"

build() { # program package
    [[ -x $folder/$1 ]] && return
    echo "Building $1 …" >&2
    (cd "$module" && CGO_ENABLED=0 nice go build -p 2 -trimpath -ldflags "$flags" -o "$work/$1" "$2" >&2) ||
        fail "$1 could not be built; what Go said is above." \
            "Without a network, or behind a proxy: set HTTPS_PROXY or GOPROXY for Go, or set KUBERNETES_BIN to a folder with ${programs[*]}."
    mv -f "$work/$1" "$folder/$1"
}
build etcd go.etcd.io/etcd/server/v3
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
build kubectl k8s.io/kubernetes/cmd/kubectl
printf '%s\n' "$folder"
