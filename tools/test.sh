#!/usr/bin/env bash
# Builds everything and passes all tests.
#
#   tools/test.sh              every stage
#   tools/test.sh STAGE...     only these:
#     plain    warnings are errors; every test
#     asan     AddressSanitizer and UndefinedBehaviorSanitizer; every test, a tenth of the random rounds
#     tsan     ThreadSanitizer; the threaded protocol tests (tests/threads)
#     format   clang-format finds nothing to change
#
# The last line is "N passed, N failed", summed over the stages; the exit status is 0 if nothing failed. Build
# directories are build/dev, build/asan and build/tsan (see CMakePresets.json). A stage that cannot be built, or that
# finds no test to run, counts as one failure. So does a test that skips itself, unless tests/skips.txt lists it with the
# reason; then it is named, and neither passed nor failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all_stages=(plain asan tsan format)
stages=()
for argument in "$@"; do
    case $argument in
        plain | asan | tsan | format) stages+=("$argument") ;;
        -h | --help)
            sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *)
            echo "test: no stage is called $argument (${all_stages[*]})" >&2
            exit 1
            ;;
    esac
done
[[ ${#stages[@]} -gt 0 ]] || stages=("${all_stages[@]}")

tools/setup.sh
jobs=$(nproc)
passed=0
failed=0
broken=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# count_failure NAME: a stage that did not get as far as its tests.
count_failure() {
    failed=$((failed + 1))
    broken+=("$1")
}

# build PRESET TARGET
build() {
    local options=(--preset "$1")
    if command -v ccache >/dev/null; then
        options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
        # Without these it does not keep what was compiled with precompiled headers.
        export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros,include_file_mtime,include_file_ctime}
    fi
    cmake "${options[@]}" >"$log" 2>&1 || { cat "$log"; return 1; }
    cmake --build "build/$1" --target "$2" -j "$jobs" >"$log" 2>&1 || { tail -n 60 "$log"; return 1; }
}

# reason_to_skip NAME: what tests/skips.txt says of it; fails where it says nothing.
reason_to_skip() {
    local name reason
    while read -r name reason || [[ -n $name ]]; do
        if [[ $name == "$1" && -n $reason ]]; then
            echo "$reason"
            return
        fi
    done <tests/skips.txt
    return 1
}

# run_tests STAGE DIRECTORY [WRAPPER...]: CTest over that directory's tests; adds up what it says.
run_tests() {
    local stage=$1 directory=$2 total missed name reason skipped=0 unlisted=0
    shift 2
    "$@" ctest --test-dir "$directory" --output-on-failure --no-tests=error -j "$jobs" 2>&1 | tee "$log" || true
    read -r missed total < <(
        sed -n -E 's/^[0-9]+% tests passed, ([0-9]+) tests? failed out of ([0-9]+)$/\1 \2/p' "$log" | tail -n 1
    ) || true
    if [[ -z ${total:-} || $total -eq 0 ]]; then
        echo "test: stage $stage ran no test"
        count_failure "$stage: no test"
        return
    fi
    # CTest counts a test that skipped itself as passed, and lists it at the end.
    while read -r name; do
        skipped=$((skipped + 1))
        if reason=$(reason_to_skip "$name"); then
            echo "test: skipped: $name: $reason"
        else
            unlisted=$((unlisted + 1))
            broken+=("$stage: $name was skipped, and tests/skips.txt says nothing of it")
        fi
    done < <(sed -n -E 's/^[[:space:]]+[0-9]+ - (.+) \(Skipped\)$/\1/p' "$log")
    passed=$((passed + total - missed - skipped))
    failed=$((failed + missed + unlisted))
    [[ $missed -eq 0 ]] || broken+=("$stage: $missed tests")
}

stage_plain() {
    build dev all || { count_failure "plain: build"; return; }
    run_tests plain build/dev
}

stage_asan() {
    build asan all || { count_failure "asan: build"; return; }
    PMEMSTREAM_TEST_SCALE=${PMEMSTREAM_TEST_SCALE:-10} run_tests asan build/asan
}

stage_tsan() {
    # GCC 12's ThreadSanitizer does not know every layout that address space randomisation chooses.
    local fixed_addresses=()
    if setarch --addr-no-randomize true 2>/dev/null; then
        fixed_addresses=(setarch --addr-no-randomize)
    fi
    build tsan tests/threads/all || { count_failure "tsan: build"; return; }
    TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS:-}" \
        run_tests tsan build/tsan/tests/threads "${fixed_addresses[@]}"
}

stage_format() {
    local sources=()
    mapfile -d '' sources < <(find include src ipc tools tests examples -type f \
        \( -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -name '*.c' \) -print0)
    if [[ ${#sources[@]} -eq 0 ]]; then
        count_failure "format: no sources"
    elif clang-format-14 --dry-run -Werror "${sources[@]}" >"$log" 2>&1; then
        echo "${#sources[@]} files"
        passed=$((passed + 1))
    else
        grep -E '(error|warning): ' "$log" | sed 's/:.*//' | sort | uniq -c | sort -rn
        echo "test: clang-format-14 -i would change these (places to change, file)"
        count_failure format
    fi
}

SECONDS=0
times=()
for stage in "${stages[@]}"; do
    begun=$SECONDS
    echo "=== $stage"
    "stage_$stage"
    times+=("$stage $((SECONDS - begun)) s")
    echo "=== ${times[-1]}"
done

echo
printf '%s\n' "${times[@]}" "together $SECONDS s"
for what in "${broken[@]}"; do
    echo "failed: $what"
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
