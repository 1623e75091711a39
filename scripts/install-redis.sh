#!/usr/bin/env bash
# Finds redis-server for the tests of the rate limit service, or unpacks Debian's, and prints its path
# as the last line on stdout; everything else goes to stderr. Needs no root.
# REDIS_SERVER=/path/to/redis-server takes that one instead and installs nothing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/debian.sh"

# The package of the server itself has what starts it with the machine.
debian_program REDIS_SERVER redis-server usr/bin/redis-check-rdb redis-tools liblzf1 libjemalloc2
