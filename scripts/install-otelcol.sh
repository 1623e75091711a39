#!/usr/bin/env bash
# Finds the OpenTelemetry collector that the tests send spans to, or builds it with Go into .tools, and
# prints its path as the last line on stdout; everything else goes to stderr. OTELCOL=/path/to/otelcol
# takes another, with the receiver otlp and the exporter debug, and builds nothing.
#
# It is tests/otelcol, with the versions of its go.mod; Go's own sums check what it gets.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    printf 'install-otelcol: %s\n' "$@" >&2
    exit 1
}

if [[ -n ${OTELCOL:-} ]]; then
    [[ -x $OTELCOL ]] || fail "OTELCOL is set to $OTELCOL, which is no program: correct it, or unset it."
    printf '%s\n' "$OTELCOL"
    exit 0
fi

module=$root/tests/otelcol
version=$(sed -n 's|^\tgo.opentelemetry.io/collector/otelcol \(v[^ ]*\).*|\1|p' "$module/go.mod")
[[ -n $version ]] || fail "there is no version of go.opentelemetry.io/collector/otelcol in $module/go.mod."
folder=$root/.tools/otelcol-$version
# It gets its name only when it is whole.
if [[ ! -x $folder/otelcol ]]; then
    help="Install Go 1.26 or newer (https://go.dev/dl), or set OTELCOL to the path of a collector."
    command -v go >/dev/null || fail "the OpenTelemetry collector is built with Go, which is not installed." "$help"
    mkdir -p "$folder" || fail "cannot create $folder: make it writable." "$help"
    work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable." "$help"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    echo "Building an OpenTelemetry collector $version (some minutes) …" >&2
    CGO_ENABLED=0 go build -C "$module" -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w" -o "$work/otelcol" . >&2 ||
        fail "the OpenTelemetry collector does not build; what go said is above." "$help"
    mv -f "$work/otelcol" "$folder/otelcol"
fi
printf '%s\n' "$folder/otelcol"
