#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks, with apt-get. Says nothing and takes no time when
# everything is there.
#
#   tools/setup.sh           install (as root, or through sudo)
#   tools/setup.sh --list    print the packages, one per line, and do nothing
#   tools/setup.sh --peers   also what pmemstream-bench compares itself with and draws with (with --list: lists it)
#   tools/setup.sh --only PACKAGE...   install these instead (for what is run by hand)
set -euo pipefail

packages=(
    g++ cmake ninja-build pkg-config   # the build
    ccache                             # makes the second build cheap
    libpmem2-dev                       # medium
    liburing-dev                       # medium: several syncs at once (the library also builds without)
    libboost-dev                       # Boost.Interprocess maps the control file
    libfmt-dev                         # all text
    libexpected-dev                    # tl::expected, in the public headers
    libcli11-dev nlohmann-json3-dev    # tools: command line, --json
    doctest-dev librapidcheck-dev      # tests
    libfuse3-dev                       # the file system on which the crash tests watch the kernel
    libseccomp-dev                     # the test that the hot path makes no system call
    spin gcc libc6-dev                 # the model of the doorbell; spin's verifiers are C
    clang-format-14                    # tools/test.sh checks the format
    python3                            # the independent reader, the tidy tests, the demo's statistics
    binutils                           # nm: what the library exports
    diffutils util-linux               # diff for the demo; setarch for ThreadSanitizer
)

# None of these is needed to build or to test: pmemstream-bench names the ones that it was built without.
peers=(
    libpmemlog-dev                     # appends that are durable on persistent memory
    liblmdb-dev librocksdb-dev         # stores with a log inside
    redis-server libhiredis-dev        # Redis Streams
    libzmq3-dev                        # messages over ipc://
    iceoryx libiceoryx-posh-dev libiceoryx-hoofs-dev # publish/subscribe in shared memory
    gnuplot-nox                        # --plot
)

list=
while [[ $# -gt 0 ]]; do
    case $1 in
        --list) list=yes ;;
        --peers) packages+=("${peers[@]}") ;;
        --only)
            packages=("${@:2}")
            break
            ;;
        *)
            echo "usage: tools/setup.sh [--list] [--peers | --only PACKAGE...]" >&2
            exit 1
            ;;
    esac
    shift
done
if [[ -n $list ]]; then
    printf '%s\n' "${packages[@]}"
    exit 0
fi

if ! command -v dpkg-query >/dev/null; then
    echo "setup: no dpkg here, so nothing is installed; needed (by their Debian names): ${packages[*]}" >&2
    exit 0
fi

# dpkg-query fails when a name is unknown to it, and still prints the others.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
    sed -n 's/^installed //p' || true)
missing=()
for package in "${packages[@]}"; do
    grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "setup: missing: ${missing[*]}" >&2
        echo "setup: neither root nor sudo here; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"
}

echo "setup: installing ${missing[*]}"
# The lists may be absent (a fresh container) or too old to fetch from: only then are they renewed.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! apt install --no-install-recommends -y "${missing[@]}" >"$log" 2>&1; then
    if ! apt update >"$log" 2>&1 || ! apt install --no-install-recommends -y "${missing[@]}" >"$log" 2>&1; then
        cat "$log" >&2
        echo "setup: could not install ${missing[*]}" >&2
        exit 1
    fi
fi
