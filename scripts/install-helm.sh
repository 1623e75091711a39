#!/usr/bin/env bash
# Builds helm into .tools from its Go module, in the version that versions.env names, and prints the
# path of the program as the last line on stdout; everything else goes to stderr. Quick when it is
# there already. HELM=/path/to/helm takes that one instead and builds nothing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=../versions.env
. "$root/versions.env"

fail() {
    printf 'install-helm: %s\n' "$@" >&2
    exit 1
}

runs() { # path
    "$1" version >/dev/null 2>&1
}

if [[ -n ${HELM:-} ]]; then
    runs "$HELM" || fail "HELM is set to $HELM, which does not run ('$HELM version' fails): correct it, or unset it to build helm $HELM_VERSION."
    printf '%s\n' "$HELM"
    exit 0
fi

folder=$root/.tools/helm-$HELM_VERSION
helm=$folder/helm
# It gets its name only when it is whole and has run.
if [[ -x $helm ]]; then
    printf '%s\n' "$helm"
    exit 0
fi

help="Install Go from https://go.dev/dl, or set HELM to the path of a helm."
command -v go >/dev/null || fail "go is missing, and helm is built from its Go module." "$help"
mkdir -p "$folder" || fail "cannot create $folder: make it writable, or set HELM to the path of a helm."
# In the same folder, so that a rename can put it in place.
work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable, or set HELM to the path of a helm."
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "Building helm $HELM_VERSION (some minutes) …" >&2
# The module's own go.sum pins all that it is built with; its own checksum is in versions.env.
module=$(cd "$work" && go mod download -json "helm.sh/helm/v4@$HELM_VERSION") ||
    fail "go could not download helm $HELM_VERSION:" "$module" "Behind a proxy: set GOPROXY or HTTPS_PROXY. $help"
value() { # key
    sed -n "s/^[[:space:]]*\"$1\": \"\(.*\)\",\{0,1\}\$/\1/p" <<<"$module"
}
[[ $(value Sum) == "$HELM_MODULE_SUM" ]] ||
    fail "the module helm.sh/helm/v4 $HELM_VERSION has the checksum $(value Sum), expected $HELM_MODULE_SUM." \
        "Do not use that Go proxy, or correct versions.env if its version was changed."
go build -C "$(value Dir)" -mod=readonly -trimpath -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$HELM_VERSION" \
    -o "$work/helm" ./cmd/helm >&2 ||
    fail "helm $HELM_VERSION could not be built; what go said is above." "$help"
runs "$work/helm" || fail "helm $HELM_VERSION was built and does not run ('helm version' fails)." "$help"
mv -f "$work/helm" "$helm"
printf '%s\n' "$helm"
