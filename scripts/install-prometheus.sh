#!/usr/bin/env bash
# Finds Prometheus and promtool for the test of the dashboards, or unpacks Debian's package of them
# into .tools, and prints the paths of both, prometheus first, as the last two lines on stdout;
# everything else goes to stderr. Needs no root.
# PROMETHEUS=/path/to/prometheus and PROMTOOL=/path/to/promtool take those instead and install nothing.
#
# The version is Debian's: it keeps only the newest, and apt checks what it gets.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    printf 'install-prometheus: %s\n' "$@" >&2
    exit 1
}

runs() { # path
    "$1" --version >/dev/null 2>&1
}

say() { # prometheus promtool
    printf '%s\n%s\n' "$1" "$2"
    exit 0
}

if [[ -n ${PROMETHEUS:-} || -n ${PROMTOOL:-} ]]; then
    [[ -n ${PROMETHEUS:-} && -n ${PROMTOOL:-} ]] || fail "only one of PROMETHEUS and PROMTOOL is set: set both, or unset it."
    runs "$PROMETHEUS" || fail "PROMETHEUS is set to $PROMETHEUS, which does not run: correct it, or unset it."
    runs "$PROMTOOL" || fail "PROMTOOL is set to $PROMTOOL, which does not run: correct it, or unset it."
    say "$PROMETHEUS" "$PROMTOOL"
fi

folder=$root/.tools/prometheus
# They get their names only when they are whole and have run.
if [[ -x $folder/prometheus && -x $folder/promtool ]]; then
    say "$folder/prometheus" "$folder/promtool"
fi
if runs prometheus && runs promtool; then
    say "$(command -v prometheus)" "$(command -v promtool)"
fi

help="Install Prometheus, or set PROMETHEUS and PROMTOOL to the paths of its programs."
{ command -v apt-get && command -v dpkg; } >/dev/null || fail "prometheus and promtool are missing, and this is no Debian." "$help"

mkdir -p "$folder" || fail "cannot create $folder: make it writable." "$help"
# In the same folder, so that a rename can put them in place.
work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable." "$help"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "Installing Prometheus (some 20 MB) …" >&2
# apt of root gets files as another user, who must be able to write here.
download() {
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User= prometheus >&2)
}
# Only root can renew the lists of packages, in the place where apt has them; here it is a copy.
renew() {
    mkdir -p "$work/lists/partial"
    local options=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=)
    apt-get "${options[@]}" update -qq >&2 &&
        (cd "$work" && apt-get "${options[@]}" download -qq prometheus >&2)
}
download 2>/dev/null || renew || fail "apt-get could not download the package prometheus; what it said is above." "$help"
packages=("$work"/prometheus_*.deb)
dpkg -x "${packages[0]}" "$work/unpacked" || fail "the package prometheus cannot be unpacked; what dpkg said is above." "$help"
for program in prometheus promtool; do
    runs "$work/unpacked/usr/bin/$program" || fail "Debian's $program does not run on this machine." "$help"
    mv -f "$work/unpacked/usr/bin/$program" "$folder/$program"
done
say "$folder/prometheus" "$folder/promtool"
