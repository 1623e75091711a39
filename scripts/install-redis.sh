#!/usr/bin/env bash
# Finds redis-server for the tests of the rate limit service, or unpacks Debian's packages of it into
# .tools, and prints its path as the last line on stdout; everything else goes to stderr. Needs no
# root. REDIS_SERVER=/path/to/redis-server takes that one instead and installs nothing.
#
# The version is Debian's: it keeps only the newest, and apt checks what it gets.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    printf 'install-redis: %s\n' "$@" >&2
    exit 1
}

runs() { # path
    "$1" --version >/dev/null 2>&1
}

say() { # path
    printf '%s\n' "$1"
    exit 0
}

if [[ -n ${REDIS_SERVER:-} ]]; then
    runs "$REDIS_SERVER" || fail "REDIS_SERVER is set to $REDIS_SERVER, which does not run: correct it, or unset it."
    say "$REDIS_SERVER"
fi

folder=$root/.tools/redis
# It gets its name only when it is whole and has run.
if [[ -x $folder/redis-server ]]; then
    say "$folder/redis-server"
fi
if runs redis-server; then
    say "$(command -v redis-server)"
fi

help="Install Redis, or set REDIS_SERVER to the path of a redis-server."
{ command -v apt-get && command -v dpkg; } >/dev/null || fail "redis-server is missing, and this is no Debian." "$help"

mkdir -p "$folder" || fail "cannot create $folder: make it writable." "$help"
# In the same folder, so that a rename can put it in place.
work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable." "$help"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The program is in redis-tools; the libraries are those of it that Debian does not always have.
packages=(redis-tools liblzf1 libjemalloc2)
echo "Installing Redis (some 2 MB) …" >&2
# apt of root gets files as another user, who must be able to write here.
download() {
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User= "${packages[@]}" >&2)
}
# Only root can renew the lists of packages, in the place where apt has them; here it is a copy.
renew() {
    mkdir -p "$work/lists/partial"
    local options=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=)
    apt-get "${options[@]}" update -qq >&2 &&
        (cd "$work" && apt-get "${options[@]}" download -qq "${packages[@]}" >&2)
}
download 2>/dev/null || renew ||
    fail "apt-get could not download the packages ${packages[*]}; what it said is above." "$help"
for package in "$work"/*.deb; do
    dpkg -x "$package" "$work/unpacked" || fail "$package cannot be unpacked; what dpkg said is above." "$help"
done
mkdir "$work/files"
mv "$work"/unpacked/usr/lib/*/lib*.so.* "$work/files"
# The program goes by the name that it is called by.
cp "$work/unpacked/usr/bin/redis-check-rdb" "$work/files/redis-server"
rm -rf "$folder/files"
mv "$work/files" "$folder/files"
cat >"$work/redis-server" <<'SCRIPT'
#!/bin/sh
files=$(dirname "$0")/files
LD_LIBRARY_PATH=$files exec "$files/redis-server" "$@"
SCRIPT
chmod +x "$work/redis-server"
mv -f "$work/redis-server" "$folder/redis-server"
if ! runs "$folder/redis-server"; then
    rm -f "$folder/redis-server"
    fail "Debian's redis-server does not run on this machine." "$help"
fi
say "$folder/redis-server"
