# Programs of Debian's packages, unpacked into .tools and not installed: that needs no root, and
# changes nothing of the machine. Sourced by the scripts that need some; $root is the repository.
#
# The version is Debian's: it keeps only the newest, and apt checks what it gets.

fail() {
    printf "$(basename "$0" .sh): %s\n" "$@" >&2
    exit 1
}

runs() { # path
    "$1" --version >/dev/null 2>&1
}

# debian_unpack FOLDER HELP PACKAGE...: unpacks packages into FOLDER/.new.*/unpacked, and has `work` name
# FOLDER/.new.*, which goes when the script ends. A rename from there puts something into FOLDER.
debian_unpack() {
    local folder=$1 help=$2 package
    shift 2
    { command -v apt-get && command -v dpkg; } >/dev/null || fail "this is no Debian." "$help"
    mkdir -p "$folder" || fail "cannot create $folder: make it writable." "$help"
    work=$(mktemp -d "$folder/.new.XXXXXX") || fail "cannot write to $folder: make it writable." "$help"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    echo "Unpacking Debian's $1 …" >&2
    debian_download "$@" 2>/dev/null || debian_renew "$@" ||
        fail "apt-get could not download the packages $*; what it said is above." "$help"
    for package in "$work"/*.deb; do
        dpkg -x "$package" "$work/unpacked" || fail "$package cannot be unpacked; what dpkg said is above." "$help"
    done
}

# apt of root gets files as another user, who must be able to write here.
debian_download() { # package...
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User= "$@" >&2)
}

# Only root can renew the lists of packages, in the place where apt has them; here it is a copy.
debian_renew() { # package...
    mkdir -p "$work/lists/partial"
    local options=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=)
    apt-get "${options[@]}" update -qq >&2 &&
        (cd "$work" && apt-get "${options[@]}" download -qq "$@" >&2)
}

# debian_program VARIABLE NAME FILE PACKAGE...: prints the path of a program, as the last line on stdout:
# what the variable says, what was unpacked before, what the machine has, or else FILE of the
# packages, with those of its libraries that a Debian does not always have.
debian_program() {
    local variable=$1 name=$2 file=$3
    shift 3
    local said=${!variable:-} folder=$root/.tools/$name
    local help="Install $name, or set $variable to the path of one."
    if [[ -n $said ]]; then
        runs "$said" || fail "$variable is set to $said, which does not run: correct it, or unset it."
        printf '%s\n' "$said"
        return
    fi
    # It has its name only when it is whole and has run.
    if [[ ! -x $folder/$name ]]; then
        if runs "$name"; then
            command -v "$name"
            return
        fi
        debian_unpack "$folder" "$help" "$@"
        mkdir "$work/files"
        find "$work/unpacked" -name 'lib*.so.*' -exec mv -t "$work/files" {} +
        cp "$work/unpacked/$file" "$work/files/$name"
        cat >"$work/$name" <<SCRIPT
#!/bin/sh
files=\$(dirname "\$0")/files
LD_LIBRARY_PATH=\$files exec "\$files/$name" "\$@"
SCRIPT
        chmod +x "$work/$name"
        runs "$work/$name" || fail "Debian's $name does not run on this machine." "$help"
        rm -rf "$folder/files"
        mv "$work/files" "$folder/files"
        mv "$work/$name" "$folder/$name"
    fi
    printf '%s\n' "$folder/$name"
}
