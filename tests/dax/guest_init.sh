#!/bin/busybox sh
# The first and only process of the virtual machine of run.sh. What it finds out goes to the second serial port:
# "persisted N" for run.sh, "FAILED ..." if something is wrong, "done" at the end, everything else for people.
export PATH=/programs:/bin

say() { echo "$*" >&3; }
end() {
    sync
    poweroff -f
    sleep 60
}
fail() {
    say "FAILED: $*"
    end
}
# The value that the kernel's command line gives a name.
given() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

make_file_system() {
    ndctl create-namespace -f -e namespace0.0 -m fsdax >/tmp/namespace 2>&1 || fail "ndctl: $(cat /tmp/namespace)"
    # By its path: busybox has one of its own, which its shell prefers.
    /programs/mke2fs -q -t ext4 -b 4096 /dev/pmem0 || fail "mke2fs on the NVDIMM"
}
mount_dax() {
    mount -t ext4 -o dax /dev/pmem0 /mnt/dax || fail "mount -o dax"
    grep -q ' /mnt/dax ext4 .*dax' /proc/mounts || fail "mounted without dax"
}

# A writer's mapping has the flag of synchronous page faults, which is MAP_SYNC.
check_map_sync() {
    sleep 1000 | pmemstream-write /mnt/dax/info &
    sleep 1
    pid=$(pidof pmemstream-write)
    grep -A 30 '/mnt/dax/info$' "/proc/$pid/smaps" | grep -m 1 VmFlags >/tmp/flags
    grep -q ' sf ' /tmp/flags || fail "no MAP_SYNC: $(cat /tmp/flags)"
    say "mapped with MAP_SYNC ($(tr -s ' ' </tmp/flags))"
    killall sleep
    wait
    pmemstream-inspect info /mnt/dax/info >/tmp/info || fail "pmemstream-inspect info"
    grep -i granularity /tmp/info >/tmp/granularity
    grep -q cache /tmp/granularity || fail "granularity: $(cat /tmp/granularity)"
    say "says pmemstream-inspect info: $(tr -s ' ' </tmp/granularity)"
    rm /mnt/dax/info
}

# run_test NAME MEDIUM ARGUMENTS...
run_test() {
    test=$1 medium=$2
    shift 2
    if PMEMSTREAM_TEST_DIR=/mnt/dax PMEMSTREAM_TEST_SCALE=5 "/tests/$test" "$@" >/tmp/output 2>&1; then
        say "$test on $medium: $(sed -n 's/^\[doctest\] test cases: *//p' /tmp/output)"
    else
        tail -n 40 /tmp/output
        fail "$test on $medium"
    fi
}
run_tests() {
    without="a creation killed at any of its steps*" # one of the steps is msync, which nobody calls here
    for test in /tests/*; do
        case $test in
            */medium_suite) ;; # below
            *) run_test "$(basename "$test")" dax -tce="$without" ;;
        esac
    done
    run_test medium_suite dax --file /mnt/dax --expect cache_line
    run_test medium_suite "a disk" --file /dev/vda --expect page
}

# What run.sh saw reported before it killed the machine is there.
check_stream() {
    pmemstream-inspect verify "$1" >/tmp/verify 2>&1 || fail "pmemstream-inspect verify: $(cat /tmp/verify)"
    dax_guest check "$1" "$2" >/tmp/check 2>&1 || fail "$(cat /tmp/check)"
}

# A stream is written on ext4 while dm-log-writes records every write to the disk. The arguments: environment of the writer.
record_disk() {
    dd if=/dev/zero of=/dev/vda bs=1M conv=fsync 2>/dev/null # as the replay begins; it says that the disk is full
    dmsetup create logged --noudevsync --table "0 $(($(given bytes) / 512)) log-writes /dev/vda /dev/vdb" ||
        fail "dm-log-writes"
    disk=/dev/mapper/logged
    [ -e "$disk" ] || disk=/dev/dm-0
    /programs/mke2fs -q -t ext4 -b 4096 -J size=4 -E nodiscard "$disk" || fail "mke2fs on the disk"
    mount -t ext4 "$disk" /mnt/disk || fail "mount"
    sync
    dmsetup message logged 0 mark 0
    env "$@" dax_guest append /mnt/disk/stream "$(given entries)" 1 logged >/tmp/append 2>&1 ||
        fail "$(cat /tmp/append)"
    umount /mnt/disk
    dmsetup remove --noudevsync logged || fail "dmsetup remove"
}
replay_disk() {
    dax_guest replay /dev/vdb /tmp/try "$(given bytes)" "$(given seed)" /init check_image >/tmp/replay 2>&1
}

lose_power() {
    # The control: a writer that takes the disk for persistent memory, and syncs nothing, must be found out.
    record_disk PMEM2_FORCE_GRANULARITY=CACHE_LINE
    if replay_disk || ! grep -q '^not as promised' /tmp/replay; then
        fail "entries that nobody synced are not missed: $(tail -n 5 /tmp/replay)"
    fi
    say "ext4 on a disk, without syncs, as it must: $(grep -B 1 -m 1 '^not as promised' /tmp/replay | tr '\n' ' ')"
    record_disk
    replay_disk || fail "$(tail -n 3 /tmp/replay)"
    say "ext4 on a disk: $(tail -n 1 /tmp/replay)"
}

# check_image IMAGE PROMISED: called by dax_guest replay for each.
check_image() {
    losetup /dev/loop0 "$1" && mount -t ext4 /dev/loop0 /mnt/disk || return 1
    status=0
    if [ -e /mnt/disk/stream ]; then
        pmemstream-inspect verify /mnt/disk/stream || status=1
    fi
    dax_guest check /mnt/disk/stream "$2" || status=1
    [ "$status" -eq 0 ] || echo "not as promised"
    umount /mnt/disk
    losetup -d /dev/loop0
    return "$status"
}

if [ "${1:-}" = check_image ]; then
    check_image "$2" "$3"
    exit
fi

/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
mkdir -p /dev/shm && mount -t tmpfs none /dev/shm
stty -F /dev/ttyS1 raw
exec 3>/dev/ttyS1
for module in /modules/*; do
    insmod "$module" || fail "module $module"
done

case $(given task) in
    first)
        make_file_system
        mount_dax
        check_map_sync
        run_tests
        ;;
    again | last)
        mount_dax
        check_stream /mnt/dax/stream "$(given least)"
        say "after the kill: $(cat /tmp/check)"
        ;;
esac
if [ "$(given task)" = last ]; then
    lose_power
    say "done"
    end
fi
dax_guest append /mnt/dax/stream 1000000 4 >&3 || fail "dax_guest append"
