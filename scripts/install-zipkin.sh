#!/usr/bin/env bash
# Finds the Zipkin server that the tests send spans to, or gets it from Maven Central into .tools, and
# prints the path of its jar as the last line on stdout; everything else goes to stderr.
# ZIPKIN=/path/to/zipkin.jar takes that one instead and gets nothing. It runs with Java 17 or newer.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=../versions.env
. "$root/versions.env"

fail() {
    printf 'install-zipkin: %s\n' "$@" >&2
    exit 1
}

command -v java >/dev/null || fail "java is missing, and Zipkin runs with it: install Java 17 or newer."
if [[ -n ${ZIPKIN:-} ]]; then
    [[ -f $ZIPKIN ]] || fail "ZIPKIN is set to $ZIPKIN, which is no file: correct it, or unset it."
    printf '%s\n' "$ZIPKIN"
    exit 0
fi

folder=$root/.tools/zipkin-$ZIPKIN_VERSION
jar=$folder/zipkin.jar
# It gets its name only when it is whole and has the right checksum.
if [[ ! -f $jar ]]; then
    help="Install Maven, or set ZIPKIN to the path of a zipkin-server jar."
    command -v mvn >/dev/null || fail "mvn is missing, which gets Zipkin from Maven Central." "$help"
    mkdir -p "$folder" || fail "cannot create $folder: make it writable." "$help"
    work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable." "$help"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    echo "Getting Zipkin $ZIPKIN_VERSION (84 MB) …" >&2
    mvn -q -B "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy" \
        "-Dartifact=io.zipkin:zipkin-server:$ZIPKIN_VERSION:jar:slim" "-DoutputDirectory=$work" >&2 ||
        fail "mvn could not get Zipkin; what it said is above." "$help"
    got=$work/zipkin-server-$ZIPKIN_VERSION-slim.jar
    sum=$(sha256sum "$got" | cut -d ' ' -f 1)
    [[ $sum == "$ZIPKIN_JAR_SHA256" ]] ||
        fail "zipkin-server $ZIPKIN_VERSION has the checksum $sum, expected $ZIPKIN_JAR_SHA256." \
            "Do not use that repository, or correct versions.env if its version was changed."
    mv -f "$got" "$jar"
fi
printf '%s\n' "$jar"
