#!/usr/bin/env bash
# Checks doorbell.pml and turns.pml with Spin: each protocol must hold in every variant, and every mutant must be caught
# for the reason it was made for. One line per run.
#
#   run_spin.sh [workdir]     verifiers and their logs go to workdir and stay there; without it, to a temporary directory
#
# Exit status: 0 all as expected, 1 something is not, 77 spin or gcc is missing (nothing was checked).
set -u -o pipefail

lanes=2              # runs at a time
memory_mib=900       # per run: lanes * memory_mib stays under 2 GB
depth=10000          # about a hundred times what the search needs; too small is an error
run_seconds=300      # a run that takes this long is an error

models=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# kind | name | macros for spin. The longest come first, so that the lanes end together.
#   holds   no assertion fails, no invalid end state
#   ends    no execution is infinite
#   lost, unpaid, unmapped   the doorbell's assertion that must fail
#   twice, overslept         the turns' assertion that must fail
#   asleep, endless          an invalid end state, an infinite execution
small="-DAPPENDS=2 -DNO_KILLS"
doorbell=(
    "holds    | three appends, readers killed          |"
    "holds    | two appenders in two regions           | -DAPPENDS=2 -DSECOND_APPENDS=1 -DNO_KILLS"
    "holds    | persisted horizon, readers killed      | -DAPPENDS=2 -DFLUSHER"
    "ends     | persisted horizon, every one is finite | -DAPPENDS=2 -DFLUSHER -DNO_KILLS"
    "ends     | every execution is finite              | $small"
    "holds    | and leaves the readers up to date      | $small"
    "holds    | control file replaced twice            | -DAPPENDS=1 -DRECREATES=2 -DNO_KILLS"
    "holds    | writer killed while replacing          | -DAPPENDS=1 -DWRITER_RESTART -DNO_KILLS"
    "holds    | writer killed while appending          | -DAPPENDS=2 -DRECREATES=0 -DWRITER_RESTART"
    "holds    | fences instead of membarrier           | -DWRITER_FENCES -DNO_KILLS"
    "lost     | D1 NO_FLAG                             | $small"
    "lost     | D2 NO_MEMBARRIER                       | $small"
    "lost     | D2 FENCE_ONLY                          | $small"
    "lost     | D3 NO_RECHECK                          | $small"
    "lost     | D3 LATE_WORD                           | $small"
    "lost     | D4 FLAG_BEFORE_COMMIT                  | $small"
    "lost     | D4 POINTER_BEFORE_COMMIT               | $small"
    "lost     | D4 DROP_RING                           | $small"
    "lost     | persisted D4 PERSISTED_FLAG_FIRST      | -DFLUSHER $small"
    "lost     | persisted D5 SHARED_FLAG               | -DFLUSHER $small"
    "lost     | persisted D6 RING_OTHER_HORIZON        | -DFLUSHER $small"
    "lost     | D5 CLEAR_AFTER_BUMP                    | $small"
    "unpaid   | D5 NEVER_CLEAR                         | $small"
    "lost     | D6 WAKE_BEFORE_BUMP                    | $small"
    "lost     | D6 SPLIT_BUMP                          | $small"
    "lost     | D8 POINTER_LAST                        | $small"
    "lost     | D9 RING_BEFORE_NONCE                   | $small"
    "lost     | D9 NO_RING_ON_RECREATE                 | $small"
    "lost     | D7 NO_NONCE_CHECK                      | $small"
    "lost     | D7 EARLY_NONCE_CHECK                   | $small"
    "unmapped | D7 EARLY_UNMAP                         | $small"
    "lost     | open NO_RING_ON_OPEN                   | $small -DRECREATES=0 -DWRITER_RESTART"
)
for_ever="-DMAY_OVERSLEEP"
turns=(
    "holds     | membarrier, one is impatient           | -DMEMBARRIER -DIMPATIENT"
    "ends      | a flush fails, every one is finite     | -DFAILURE"
    "ends      | one is impatient, every one is finite  | -DIMPATIENT"
    "holds     | one is impatient                       | -DIMPATIENT"
    "holds     | two waiters, overtaken twice           | -DWAITERS=2 -DOVERTAKES=2"
    "holds     | membarrier instead of fences           | -DMEMBARRIER"
    "holds     | a wait ends by itself                  | -DSPURIOUS=1"
    "holds     | a flush fails                          | -DFAILURE"
    "holds     | membarrier, two waiters, overtaken     | -DMEMBARRIER -DWAITERS=2 -DOVERTAKES=1"
    "ends      | two waiters, overtaken, all are finite | -DWAITERS=2 -DOVERTAKES=1"
    "holds     | three waiters                          |"
    "holds     | two waiters, three rounds              | -DWAITERS=2 -DROUNDS=3"
    "asleep    | D10 NOT_COUNTED                        | $for_ever"
    "asleep    | D10 COUNTED_LATE                       | $for_ever"
    "asleep    | D10 NO_LAST_LOOK                       | $for_ever"
    "asleep    | D10 NO_MEMBARRIER                      | $for_ever -DMEMBARRIER"
    "asleep    | D11 SLEEPERS_BEFORE_WORD               | $for_ever"
    "asleep    | D11 NO_FENCE                           | $for_ever"
    "asleep    | turns OTHER_BIT                        | $for_ever"
    "asleep    | turns WAKES_ONE                        | $for_ever"
    "asleep    | turns WAKES_THIS_TURN_ONLY             | $for_ever"
    "asleep    | turns GROUPS_SWAPPED                   | $for_ever"
    "asleep    | turns GATHERS_FOR_EVER                 | $for_ever"
    "asleep    | impatient NOT_PASSED_ON                | $for_ever -DIMPATIENT"
    "asleep    | flush fails NOT_PASSED_ON              | $for_ever -DFAILURE"
    "overslept | turns STALE_WILL_SERVE                 |"
    "overslept | turns ALL_FOR_THE_NEXT                 |"
    "twice     | turns TAKEN_UNSEEN                     |"
    "endless   | turns SPINS                            |"
)
runs=("${doorbell[@]/#/doorbell | }" "${turns[@]/#/turns | }")

for tool in spin gcc timeout; do
    command -v "$tool" > /dev/null || { echo "run_spin.sh: $tool is not installed; nothing was checked" >&2; exit 77; }
done
for model in doorbell turns; do
    [ -r "$models/$model.pml" ] || { echo "run_spin.sh: cannot read $models/$model.pml" >&2; exit 1; }
done

if [ $# -gt 0 ]; then
    if ! mkdir -p "$1" || ! work=$(cd "$1" && pwd); then echo "run_spin.sh: cannot use $1" >&2; exit 1; fi
else
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
fi
# Each run is a process group of its own, so that an interrupted script leaves no verifier behind.
set -m
stop() {
    local job
    for job in $(jobs -p); do kill -- "-$job" 2> /dev/null; done
    echo "run_spin.sh: interrupted" >&2
    exit 1
}
trap stop INT TERM

# Writes "ok: ..." or "FAILED: ..." to $dir/result.
run() {
    local model=$1 kind=$2 macros=$3 dir=$4
    local c_options="-DSAFETY" pan_options="" say="" states reached status

    rm -rf "$dir" && mkdir -p "$dir" && cd "$dir" && cp "$models/$model.pml" . || return
    if [ "$kind" = ends ] || [ "$kind" = endless ]; then c_options="-DNP -DNOFAIR"; pan_options="-l"; fi

    # spin is silent unless it has something to complain of.
    # shellcheck disable=SC2086
    if ! spin -a $macros "$model.pml" > spin.log 2>&1 || [ -s spin.log ]; then
        echo "FAILED: spin: $(head -n 1 spin.log)" > result; return
    fi
    # shellcheck disable=SC2086
    if ! gcc -O2 -w $c_options -DCOLLAPSE -DMEMLIM=$memory_mib -o pan pan.c > gcc.log 2>&1; then
        echo "FAILED: gcc: $(head -n 1 gcc.log)" > result; return
    fi
    timeout --foreground $run_seconds ./pan -m$depth $pan_options > pan.log 2>&1
    status=$?
    rm -f pan pan.? pan_ast*

    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log)
    reached=$(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' pan.log)
    fail() { echo "FAILED: $1 (${states:-no} states)" > result; }

    if [ $status -eq 124 ]; then fail "took more than $run_seconds s"; return; fi
    if [ $status -ne 0 ]; then fail "pan ended with status $status: $(tail -n 1 pan.log)"; return; fi
    if [ -z "$states" ] || ! grep -q '^Full statespace search' pan.log; then fail "no full search"; return; fi
    if grep -qiE 'too small|truncat|out of memory|MEMLIM|aborting' pan.log; then
        fail "the search was cut short: $(grep -iE -m 1 'too small|truncat|out of memory|MEMLIM|aborting' pan.log)"; return
    fi

    case $kind in
    holds|ends)
        if ! grep -q 'errors: 0$' pan.log; then fail "$(grep -m 1 '^pan:1:' pan.log)"; return; fi
        if grep -q 'not completed' pan.log; then fail "the search is not complete"; return; fi
        if [ "$kind" = ends ]; then say='non-progress cycles[[:space:]]+\+'; else say='invalid end states[[:space:]]+\+'; fi
        if ! grep -qE "$say" pan.log; then fail "the check was not on"; return; fi
        if ! grep -qE 'assertion violations[[:space:]]+\+' pan.log && [ "$kind" = holds ]; then fail "assertions were off"; return; fi
        # Whatever else pan has to say but its timing is a warning.
        if grep -E '^(pan|warning|error|hint)' -i pan.log | grep -qvE '^pan: (elapsed time|rate)|resizing hashtable'; then
            fail "$(grep -iE '^(pan|warning|error|hint)' pan.log | grep -vE '^pan: (elapsed time|rate)|resizing hashtable' | head -n 1)"
            return
        fi
        echo "ok: $states states, depth $reached, no error" > result ;;
    lost|unpaid|unmapped|asleep|overslept|twice|endless)
        case $kind in
        lost)      say='assertion violated .*writers==0.*asleep\[' ;;
        unpaid)    say='assertion violated .*paid\[' ;;
        unmapped)  say='assertion violated .*unmapped\[' ;;
        asleep)    say='invalid end state' ;;
        overslept) say='assertion violated .*enders.*asleep\[.*served' ;;
        twice)     say='assertion violated .*holders>1' ;;
        endless)   say='non-progress cycle' ;;
        esac
        if grep -q 'errors: 0$' pan.log; then fail "the mutant was not noticed"; return; fi
        if ! grep -qE "^pan:1: $say" pan.log; then fail "another error than '$kind': $(grep -m 1 '^pan:1:' pan.log)"; return; fi
        echo "ok: $states states, caught ($kind)" > result ;;
    esac
}

trim() { local s=$1; s=${s#"${s%%[! ]*}"}; printf '%s' "${s%"${s##*[! ]}"}"; }

for i in "${!runs[@]}"; do
    IFS='|' read -r model kind name macros <<< "${runs[i]}"
    model=$(trim "$model"); kind=$(trim "$kind"); name=$(trim "$name"); macros=$(trim "$macros")
    case $kind in holds|ends) ;; *) macros="-D${name##* } $macros" ;; esac
    while [ "$(jobs -pr | wc -l)" -ge $lanes ]; do wait -n; done
    run "$model" "$kind" "$macros" "$work/${name// /_}" &
done
wait

failed=0
for i in "${!runs[@]}"; do
    IFS='|' read -r _ kind name _ <<< "${runs[i]}"
    kind=$(trim "$kind"); name=$(trim "$name")
    result=$(cat "$work/${name// /_}/result" 2> /dev/null) || result="FAILED: no result"
    case $result in ok:*) ;; *) failed=$((failed + 1)) ;; esac
    printf '%-9s %-40s %s\n' "$kind" "$name" "$result"
done
if [ $failed -gt 0 ]; then
    echo "run_spin.sh: $failed of ${#runs[@]} runs are not as expected" >&2
    exit 1
fi
echo "all ${#runs[@]} runs as expected"
