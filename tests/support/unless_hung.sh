#!/usr/bin/env bash
# Runs a test program; up to three times where it hangs, never again where it fails.
for _ in 1 2 3; do
    timeout --kill-after=5 180 "$@"
    code=$?
    [[ $code -eq 124 || $code -eq 137 ]] || exit "$code"
    echo "hung: $*" >&2
done
exit 1
