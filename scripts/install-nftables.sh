#!/usr/bin/env bash
# Finds nft for the conformance suite, whose cluster has the addresses of its Services by it, or unpacks
# Debian's, and prints its path as the last line on stdout; everything else goes to stderr. Needs no root.
# NFT=/path/to/nft takes that one instead and installs nothing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/debian.sh"

debian_program NFT nft usr/sbin/nft nftables libnftables1 libnftnl11 libmnl0 libxtables12 \
    libjansson4 libedit2 libbsd0 libmd0
