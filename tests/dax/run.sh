#!/usr/bin/env bash
# Persistent memory and power loss for real, as far as that goes without the hardware: boots a small virtual machine (QEMU
# without KVM) whose memory has an NVDIMM, and in it
#   - mounts ext4 with -o dax, sees that a stream there is mapped with MAP_SYNC and flushed by cache lines, and runs
#     the library's tests on it;
#   - kills the machine in the middle of appends, boots it again with the same NVDIMM, and looks for every entry that was
#     reported as persisted (three times);
#   - records every write to a disk with ext4 (dm-log-writes) while a stream is written, loses power at each flush and
#     in between, lets ext4 recover, and verifies the stream.
#
#   tests/dax/run.sh [--kills N] [--entries N] [--seed N] [--keep]
#     --kills N     how often the machine is killed (3)
#     --entries N   how many entries are written under dm-log-writes (40)
#     --seed N      of the moments of the kills and of what is lost between flushes (by default another one each time)
#     --keep        leave the scratch directory, with the consoles of all boots, behind
#
# Builds what it needs in build/dev. Needs Debian 12 on x86-64; installs the packages it lacks (as root, or through sudo);
# fetches Debian's kernel (70 MB) into build/dax once. Takes two to four minutes. Exit status: 0 all is well, 1 usage,
# 2 something that it needs is not to be had, 3 a check failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

packages=(
    qemu-system-x86            # the machine
    busybox-static cpio gzip   # its first file system
    ndctl e2fsprogs dmsetup    # what is called there: namespaces, mke2fs, dm-log-writes
    xz-utils                   # the kernel's package is packed with it
)
modules=(virtio_pci virtio_blk nfit nd_pmem crc32c_generic ext4 loop dm_log_writes)
programs=(/usr/bin/ndctl /usr/sbin/mke2fs /usr/sbin/dmsetup
          build/dev/tools/write/pmemstream-write build/dev/tools/inspect/pmemstream-inspect build/dev/tests/dax/dax_guest)
# Of the suite, what takes its directory from the environment and assumes nothing of the granularity; and the
# program that some of it kills.
tests=(unit_tests unit_filesystem durability_followers recovery_test writer_kill_test medium_suite)
helpers=(kill_writer)
nvdimm_bytes=$((256 << 20))
disk_bytes=$((16 << 20)) # what medium_suite expects of a device
boot_seconds_max=300

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}
fail() {  # fail STATUS WHAT
    echo "dax: $2" >&2
    exit "$1"
}

kills=3
entries=40
seed=$((RANDOM * 32768 + RANDOM))
keep=
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --keep) keep=1 ;;
        --kills | --entries | --seed)
            [[ ${2:-} =~ ^[0-9]{1,9}$ ]] || fail 1 "$1 takes a number (see --help)"
            declare "${1#--}=$((10#$2))"
            shift
            ;;
        *) fail 1 "what is $1? (see --help)" ;;
    esac
    shift
done
[[ $kills -gt 0 && $entries -gt 0 ]] || fail 1 "--kills and --entries take a number above 0"
[[ $(uname -m) == x86_64 ]] || fail 2 "this takes an x86-64 machine, to run the programs that it builds in one"
tools/setup.sh || fail 2 "what the build takes is not there"
tools/setup.sh --only "${packages[@]}" || fail 2 "the packages that this takes are not there"

scratch=$(mktemp -d /var/tmp/pmemstream-dax-XXXXXX)
machine=
clean_up() {
    if [[ -n $machine ]]; then
        kill -KILL "$machine" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
    fi
    if [[ -n $keep ]]; then
        echo "dax: consoles and disks are in $scratch"
    else
        rm -rf "$scratch"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- the kernel, the programs, and the first file system from them -------------------------------------------------------

fetch_kernel() {
    local package
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
    [[ -n $package ]] || fail 2 "apt knows no linux-image-amd64; try apt-get update"
    kernel=build/dax/$package
    [[ ! -e $kernel/complete ]] || return 0
    echo "dax: fetching $package"
    rm -rf "$kernel"
    mkdir -p "$kernel"
    (cd "$kernel" && apt-get -qq -o APT::Sandbox::User=root download "$package") || fail 2 "$package cannot be fetched; try apt-get update"
    # All of it is 400 MB.
    dpkg-deb --fsys-tarfile "$kernel/$package"_*.deb | tar -x -C "$kernel" --wildcards \
        './boot/vmlinuz-*' './lib/modules/*/kernel/drivers/'{acpi/nfit,block,dax,md,nvdimm,virtio}/'*' \
        './lib/modules/*/kernel/'{crypto,lib,arch,fs/ext4,fs/jbd2}/'*' './lib/modules/*/kernel/fs/mbcache.ko' \
        './lib/modules/*/modules.*' || fail 2 "$package does not hold what it should"
    rm "$kernel/$package"_*.deb
    touch "$kernel/complete"
}

# The modules in the order in which they can be loaded.
module_files() {
    local tree dependencies name
    tree=$(echo "$kernel"/lib/modules/*)
    dependencies=$scratch/dependencies
    (cd "$kernel" && busybox depmod -n -b . "${tree##*/}") 2>/dev/null >"$dependencies" || true
    for name in "${modules[@]}"; do
        # FILE: those it needs, the nearest first
        sed -n -E "s#^(.*/)?(${name//_/[_-]})\.ko:#\1\2.ko#p" "$dependencies" | head -n 1 | tr ' ' '\n' | tac
    done | awk -v tree="$tree" 'NF && !seen[$0]++ { print tree "/" $0 }'
}

# copy_program FILE NAME: with the libraries that it loads.
copy_program() {
    local library
    install -D "$1" "$root$2"
    for library in $(ldd "$1" | grep -o '/[^ ]*'); do
        [[ -e $root$library ]] || install -D "$library" "$root$library"
    done
}

build_root() {
    local program name file order=0
    root=$scratch/root
    mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc,modules,tests,mnt/dax,mnt/disk}
    install "$(command -v busybox)" "$root/bin/busybox"
    install tests/dax/guest_init.sh "$root/init"
    cp /etc/mke2fs.conf "$root/etc/"
    for program in "${programs[@]}"; do
        copy_program "$program" "/programs/${program##*/}"
    done
    for name in "${tests[@]}"; do
        file=$(find build/dev/tests -type f -name "$name" -perm -u+x)
        [[ -n $file ]] || fail 2 "the build made no test $name"
        copy_program "$file" "/tests/$name"
    done
    for name in "${helpers[@]}"; do
        file=$PWD/$(find build/dev/tests -type f -name "$name" -perm -u+x)
        copy_program "$file" "$file"  # where the tests look for it
    done
    for file in $(module_files); do
        order=$((order + 1))
        cp "$file" "$root/modules/$(printf '%02d' "$order")-${file##*/}"
    done
    [[ $order -ge ${#modules[@]} ]] || fail 2 "$kernel holds only $order of the modules ${modules[*]} and theirs"
    (cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$scratch/initrd"
}

# --- the machine ---------------------------------------------------------------------------------------------------------

# boot TASK: what guest_init.sh does then. Its results come line by line through a serial port of their own.
boots=0
boot() {
    boots=$((boots + 1))
    console=$scratch/console.$boots
    results=$scratch/results.$boots
    : >"$results"
    qemu-system-x86_64 -nodefaults -display none -no-reboot \
        -machine q35,nvdimm=on,accel=tcg -cpu max -smp 2 -m 1G,slots=2,maxmem=4G \
        -object "memory-backend-file,id=memory,share=on,mem-path=$scratch/nvdimm,size=$nvdimm_bytes" \
        -device nvdimm,id=nvdimm,memdev=memory \
        -drive "file=$scratch/disk,format=raw,if=virtio,cache=writeback" \
        -drive "file=$scratch/log,format=raw,if=virtio,cache=writeback" \
        -kernel "$(echo "$kernel"/boot/vmlinuz-*)" -initrd "$scratch/initrd" \
        -append "console=ttyS0 quiet panic=-1 task=$1 least=$persisted entries=$entries seed=$seed bytes=$disk_bytes" \
        -serial "file:$console" -serial "file:$results" >"$scratch/qemu.$boots" 2>&1 &
    machine=$!
}

give_up() {
    local end
    end=$(tail -n 15 "$console" "$scratch/qemu.$boots" 2>/dev/null | tr -d '\r')
    fail 3 "boot $boots: $1 (seed $seed); its last words:
$end"
}

# wait_for WHAT COMMAND...: until the command succeeds; a failure that the machine reports, or its end, ends the run.
wait_for() {
    local what=$1 deadline=$((SECONDS + boot_seconds_max))
    shift
    until "$@"; do
        if grep -q '^FAILED' "$results"; then
            sed '/^p/d; /^FAILED/d; s/^/    /' "$results"
            give_up "$(sed -n 's/^FAILED: //p' "$results")"
        fi
        kill -0 "$machine" 2>/dev/null || "$@" || give_up "the machine ended before $what"
        [[ $SECONDS -lt $deadline ]] || give_up "no $what within $boot_seconds_max s"
        sleep 0.05
    done
}
reports() { grep -c '^persisted' "$results" || true; }
has_reports() { [[ $(reports) -ge $1 ]]; }
has_ended() { grep -q '^done' "$results" && ! kill -0 "$machine" 2>/dev/null; }

# In the middle of what it is doing.
kill_machine() {
    kill -KILL "$machine"
    wait "$machine" 2>/dev/null || true
    machine=
    ! grep -q '^FAILED' "$results" || give_up "$(sed -n 's/^FAILED: //p' "$results")"
    # The last line may be cut short, which makes the number too small: never mind.
    persisted=$(sed -n 's/^persisted \([0-9][0-9]*\).*/\1/p' "$results" | tail -n 1)
    sed '/^p/d; s/^/    /' "$results"
    echo "    killed after $(reports) reports: $persisted entries are persisted"
}

fetch_kernel
echo "dax: building"
cmake --preset dev >"$scratch/build" 2>&1 || { tail "$scratch/build" >&2; fail 2 "the build cannot be configured"; }
cmake --build build/dev --target pmemstream-write pmemstream-inspect dax_guest "${tests[@]}" "${helpers[@]}" \
    >"$scratch/build" 2>&1 || { tail "$scratch/build" >&2; fail 2 "the build failed"; }
build_root
truncate -s "$nvdimm_bytes" "$scratch/nvdimm"
truncate -s "$disk_bytes" "$scratch/disk"
truncate -s 512M "$scratch/log"

SECONDS=0
RANDOM=$((seed % 32768))
persisted=0
echo "dax: ${kernel##*/}, seed $seed"
for ((n = 1; n <= kills; ++n)); do
    echo "boot $n"
    boot "$([[ $n -eq 1 ]] && echo first || echo again)"
    wait_for "appends" has_reports $((20 + RANDOM % 100))
    sleep "0.0$((RANDOM % 90 + 10))"
    kill_machine
done
echo "boot $n"
boot last
wait_for "end" has_ended
machine=
sed 's/^/    /' "$results"
echo "all is well, after $SECONDS s"
