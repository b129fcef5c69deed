#!/usr/bin/env bash
# Builds, and shows the main job on real input: a writer process streams a text line by line through a shared stream to
# three reader processes. One reader follows from the start, one joins late, one is killed with SIGKILL and resumes; the
# writer is killed too, and resumes. What the readers wrote out is then compared with the input.
#
#   tools/demo.sh [OPTION...] [FILE...]   without FILE: a word list, or else the package database of this system
#
#   --build DIR   use what is built in DIR instead of building
#   --seconds N   how long the writer takes for the input (default 5); more where a slow machine misses the middle
#
# Exit status: 0 if nothing was lost, nothing doubled, and every kill landed between 10 and 90 % of the input.
set -euo pipefail

say() { printf '%s\n' "$*"; }
die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=
seconds=5
inputs=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help)
            sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --build)
            [[ $# -ge 2 ]] || die "--build needs a directory"
            build=$2
            shift 2
            ;;
        --seconds)
            [[ $# -ge 2 && $2 =~ ^[1-9][0-9]{0,3}$ ]] || die "--seconds needs a number from 1 to 9999"
            seconds=$2
            shift 2
            ;;
        *)
            [[ -f $1 && -r $1 ]] || die "cannot read the file $1"
            inputs+=("$1")
            shift
            ;;
    esac
done

# --- the programs -----------------------------------------------------------------------------------------------------

if [[ -z $build ]]; then
    "$root/tools/setup.sh"
    build=$root/build/release
    launcher=()
    if command -v ccache >/dev/null; then
        launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    fi
    say "building in $build"
    log=$(mktemp)
    if ! (cd "$root" && cmake --preset release "${launcher[@]}" &&
        cmake --build "$build" -j "$(nproc)") >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        die "the build failed (all of its output: $log)"
    fi
    rm -f "$log"
fi
program() {
    local found
    found=$(find "$build/tools" "$build/examples" -type f -name "$1" -perm -u+x 2>/dev/null | head -n 1)
    [[ -n $found ]] || die "there is no $1 below $build"
    printf '%s' "$found"
}
write=$(program pmemstream-write)
inspect=$(program pmemstream-inspect)
feed=$(program feed)
follow=$(program follow)

# --- the input --------------------------------------------------------------------------------------------------------

directory=$(mktemp -d "${TMPDIR:-/tmp}/pmemstream-demo.XXXXXX")
stream=$directory/demo.stream
input=$directory/input
if [[ ${#inputs[@]} -eq 0 ]]; then
    for file in /usr/share/dict/words /var/lib/dpkg/status /usr/share/common-licenses/*; do
        [[ -f $file && -r $file ]] || continue
        inputs+=("$file")
        # One is enough if it is sizeable; the licences are all taken together.
        [[ $(wc -l <"$file") -lt 10000 ]] || { inputs=("$file") && break; }
    done
    [[ ${#inputs[@]} -gt 0 ]] || die "found no text on this system: name a file"
fi
# Every line ends with a newline, the last one of each file too.
# shellcheck disable=SC1003
sed -s -e '$a\' -- "${inputs[@]}" >"$input"
lines=$(wc -l <"$input")
bytes=$(stat -c %s "$input")
if [[ $lines -lt 100 ]]; then
    rm -r "$directory"
    die "an input of $lines lines is too short to kill anybody halfway: 100 at least"
fi

# Slow enough that there is a middle to be killed in.
lines_per_s=$(((lines + seconds - 1) / seconds))
# Headers of 16 bytes, padding of up to 7.
region_bytes=$((bytes + lines * 23 + 4096))
stream_bytes=$((region_bytes + (1 << 20)))

for times in appended start late killed; do
    truncate -s $((lines * 8)) "$directory/$times.times"
done

# --- processes --------------------------------------------------------------------------------------------------------

declare -A pids=()  # name -> process that we started and have not reaped
end_all() {
    local name
    for name in "${!pids[@]}"; do
        kill -KILL "${pids[$name]}" 2>/dev/null || true
        wait "${pids[$name]}" 2>/dev/null || true
    done
}
trap end_all EXIT

start_writer() {
    "$feed" "$stream" lines "$input" "$lines_per_s" "$directory/appended.times" 2>>"$directory/writer.log" &
    pids[writer]=$!
}
start_reader() {
    "$follow" "$stream" lines "$directory/$1.out" "$directory/$1.times" 2>>"$directory/$1.log" &
    pids[$1]=$!
}

committed() { "$inspect" info "$stream" --json | sed -n 's/.*"committed"[^0-9]*\([0-9]*\).*/\1/p'; }
lines_out() { wc -l <"$directory/$1.out"; }

# wait_for NAME PERCENT: until that reader wrote out so much of the input.
wait_for() {
    local name=$1 wanted=$((lines * $2 / 100)) deadline=$((SECONDS + 60 + seconds + lines / 10000))
    until [[ -e $directory/$name.out && $(lines_out "$name") -ge $wanted ]]; do
        kill -0 "${pids[writer]}" 2>/dev/null || die "the writer ended early: $(cat "$directory/writer.log")"
        kill -0 "${pids[$name]}" 2>/dev/null || die "reader $name ended early: $(cat "$directory/$name.log")"
        [[ $SECONDS -lt $deadline ]] || die "reader $name has not got to $2 % of the input in time"
        sleep 0.01
    done
}

# kill_one NAME: SIGKILL, and make sure that this is what it died of.
kill_one() {
    local status=0
    kill -KILL "${pids[$1]}" || true
    wait "${pids[$1]}" 2>/dev/null || status=$?
    unset "pids[$1]"
    [[ $status -eq 137 ]] || die "$1 was to be killed, but had ended by itself with status $status"
}

# landed WHAT LINES: prints and checks where in the input something happened.
landed() {
    local percent=$(($2 * 100 / lines))
    printf '%5.1f s  %s at line %s of %s (%s %%)\n' "$(now)" "$1" "$2" "$lines" "$percent"
    [[ $percent -ge 10 && $percent -lt 90 ]] || die "$1 at $percent % of the input: not between 10 and 90 %"
}
begun_ns=$(date +%s%N)
now() { awk -v ns=$(($(date +%s%N) - begun_ns)) 'BEGIN { print ns / 1e9 }'; }
event() { printf '%5.1f s  %s\n' "$(now)" "$*"; }

# --- the story --------------------------------------------------------------------------------------------------------

say "input: ${inputs[*]} ($lines lines, $bytes bytes)"
"$write" "$stream" --size "$stream_bytes" --region lines --region-size "$region_bytes" </dev/null
event "stream and region created; writer and two readers start"
start_reader start
start_reader killed
start_writer

wait_for start 15
landed "a third reader joins" "$(committed)"
start_reader late

wait_for killed 30
kill_one killed
landed "a reader is killed" "$(lines_out killed)"

wait_for start 45
event "it resumes after the last line it wrote out"
start_reader killed

wait_for start 60
kill_one writer
landed "the writer is killed" "$(committed)"
start_writer
event "another writer has recovered the stream and goes on"

status=0
wait "${pids[writer]}" || status=$?
unset "pids[writer]"
[[ $status -eq 0 ]] || die "the writer failed: $(cat "$directory/writer.log")"
event "the writer is done"
# Readers take what is committed, write it out and leave.
for name in start late killed; do
    kill -TERM "${pids[$name]}" || true
    status=0
    wait "${pids[$name]}" || status=$?
    unset "pids[$name]"
    [[ $status -eq 0 ]] || die "reader $name failed with status $status: $(cat "$directory/$name.log")"
done
event "the readers are done"

# --- the result -------------------------------------------------------------------------------------------------------

# Lines of the input that are not in the output, and lines of the output that are not (or not there) in the input.
problems=0
for name in start late killed; do
    difference=$(diff --text "$input" "$directory/$name.out" || true)
    lost=$(grep -c --text '^<' <<<"$difference" || true)
    doubled=$(grep -c --text '^>' <<<"$difference" || true)
    problems=$((problems + lost + doubled))
    printf '%s %s %s\n' "$name" "$lost" "$doubled" >>"$directory/compared"
done

if ! "$inspect" dump "$stream" --region lines | cmp - "$input"; then
    say "the stream itself differs from the input"
    problems=$((problems + 1))
fi

say
python3 - "$directory" <<'PYTHON'
import array
import os
import sys

directory = sys.argv[1]


def times(name):
    found = array.array("Q")
    with open(f"{directory}/{name}.times", "rb") as file:
        found.frombytes(file.read())
    return found


def row(*columns):
    print(f"{columns[0]:<26}" + "".join(f"{column:>10}" for column in columns[1:]))


with open(f"{directory}/compared") as file:
    compared = {name: counts for name, *counts in map(str.split, file)}
appended = times("appended")
with open(f"{directory}/input", "rb") as file:
    entries = sum(1 for _ in file)
payload_bytes = os.path.getsize(f"{directory}/input") - entries
row("", "entries", "bytes", "entries/s", "p50 us", "p99 us", "restarts", "lost", "doubled")
rate = (entries - 1) / max(appended[-1] - appended[0], 1) * 1e9
row("writer (paced)", entries, payload_bytes, f"{rate:.0f}", "", "", 1, "", "")
for name, text, restarts in (
    ("start", "reader from the start", 0),
    ("late", "reader that joined late", 0),
    ("killed", "reader killed and resumed", 1),
):
    lines = size = 0
    with open(f"{directory}/{name}.out", "rb") as file:
        for line in file:
            lines += 1
            size += len(line) - 1
    latencies = sorted(seen - then for then, seen in zip(appended, times(name)) if seen)
    quantile = lambda part: f"{latencies[int(part * (len(latencies) - 1))] / 1000:.1f}" if latencies else "-"
    row(text, lines, size, "", quantile(0.5), quantile(0.99), restarts, *compared[name])
print("\np50, p99: from just before the append to having the entry, of entries that arrived while the reader waited"
      "\n(not those it caught up with after joining or resuming).")
PYTHON

say
say "The stream is $stream; look at it with"
say "  $inspect info $stream"
say "  $inspect dump $stream --region lines | head"
[[ $problems -eq 0 ]] || die "$problems lines lost or doubled: compare $input with $directory/*.out"
