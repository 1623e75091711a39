#!/usr/bin/env bash
# Finds Prometheus and promtool for the test of the dashboards, or unpacks Debian's package of them
# into .tools, and prints the paths of both, prometheus first, as the last two lines on stdout;
# everything else goes to stderr. Needs no root.
# PROMETHEUS=/path/to/prometheus and PROMTOOL=/path/to/promtool take those instead and install nothing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

. "$root/scripts/debian.sh"

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
debian_unpack "$folder" "$help" prometheus
for program in prometheus promtool; do
    runs "$work/unpacked/usr/bin/$program" || fail "Debian's $program does not run on this machine." "$help"
    mv -f "$work/unpacked/usr/bin/$program" "$folder/$program"
done
say "$folder/prometheus" "$folder/promtool"
