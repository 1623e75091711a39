#!/usr/bin/env bash
# Finds Chromium and its driver for the test of the page, or installs them from Debian's packages,
# and prints the path of chromedriver as the last line on stdout; everything else goes to stderr.
# CHROMEDRIVER=/path/to/chromedriver takes that one instead and installs nothing.
#
# The version is Debian's: it keeps only the newest, and the page must work in that one.
set -euo pipefail

fail() {
    printf 'install-chromium: %s\n' "$@" >&2
    exit 1
}

if [[ -n ${CHROMEDRIVER:-} ]]; then
    "$CHROMEDRIVER" --version >&2 || fail "CHROMEDRIVER is set to $CHROMEDRIVER, which does not run: correct it, or unset it."
    printf '%s\n' "$CHROMEDRIVER"
    exit 0
fi

find_driver() {
    command -v chromedriver && { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null
}

if ! find_driver >/dev/null; then
    help="Install Chromium and chromedriver, or set CHROMEDRIVER to the path of a chromedriver with a browser beside it."
    command -v apt-get >/dev/null || fail "chromium and chromedriver are missing, and this is no Debian." "$help"
    as_root=()
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || fail "chromium and chromedriver are missing, and only root can install them." "$help"
        as_root=(sudo)
    fi
    echo "Installing chromium and chromium-driver (some 100 MB) …" >&2
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq >&2 || fail "apt-get update failed; what it said is above."
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core >&2 ||
        fail "apt-get could not install chromium and chromium-driver; what it said is above." "$help"
fi
find_driver || fail "chromedriver is still not in PATH after its installation."
