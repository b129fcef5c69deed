#!/usr/bin/env python3
"""Puts the figures of a run into docs/performance.md and README.md, between two markers in each, so that nobody types them.

performance_table.py RUN.json PAGE README           writes the figures of pmemstream-bench --json RUN.json into PAGE, all
                                                    of them, and some into README
performance_table.py --check RUN.json PAGE README   fails where one of them has others than the run's, or PAGE tells
                                                    another command to make them than the run's; without a run, they
                                                    must not have any
"""
import json
import os
import sys

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
NONE = "\nNo run is recorded here yet.\n"
WORKLOADS = ["append", "durable", "read", "stream", "latency", "wake", "open", "jitter", "peers"]
PICTURES = {"latency.svg": "How long an echo takes", "throughput.svg": "Entries per second by size",
            "readers.svg": "Cost of an append by number of readers"}


# What the README shows: in its words, by workload, variant and the payloads for which there are rows.
README_ROWS = [
    ("append, committed, CRC included", "append", "touched : raw", [8, 64, 256, 1024]),
    ("the same, first use of a file, pre-touched", "append", "pre-touched, memory : touched", [64]),
    ("the same, p99.9", "append", "pre-touched, memory : touched, p99.9", [64]),
    ("a cursor's walk", "read", "warm", [64]),
    ("a merged cursor's, 16 regions", "read", "warm, merged over 16", [64]),
    ("echo between two spinning processes, p50", "latency", "echo, p50", [64]),
    ("durable append, cache lines (forced)", "durable", "cache line", [64]),
    ("the same", "peers", "persisted: libpmemlog", [64]),
    ("append and wait for persisted, on a disk", "durable", "page, 1 waiting", [64]),
    ("the same by 64 threads, per entry", "durable", "page, 64 waiting : one", [64]),
    ("opening after SIGKILL, 10 million entries", "open", "killed, 10000000 in 1", [64]),
]
SHORT_UNITS = {"ns/entry": "ns", "ns/round trip": "ns", "us": "µs"}


def number(value):
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def misses(row):
    return row["goal"] is not None and row["ratio"] > row["goal"]


def ratio_of(row):
    """With as many digits as show that it misses its goal, as the tool shows it."""
    if not misses(row):
        return f"{row['ratio']:.2f}"
    texts = [f"{row['ratio']:.{digits}f}" for digits in range(2, 10)]
    return next((text for text in texts if float(text) > row["goal"]), texts[-1])


def cells(row):
    goal = "" if row["goal"] is None else f"{row['goal']:g}"
    ratio = f"**{ratio_of(row)}** missed" if misses(row) else ratio_of(row)
    return [row["variant"], str(row["payload_bytes"]) if row["payload_bytes"] else "",
            f"{number(row['median'])} ({number(row['min'])} – {number(row['max'])})", row["unit"],
            f"{number(row['limit_median'])}: {row['limit']}", ratio, goal]


def text_of(run, folder):
    machine, settings = run["machine"], run["settings"]
    lines = ["", "`" + " ".join(run["command"]) + "`, version " + run["version"] + ", "
             f"{settings['repetitions']} pairs per row, on {machine['cpu']}, {machine['cpus']} CPUs, {machine['kernel']}. "
             f"Streams on {machine['filesystem']} ({machine['granularity']}), durable ones on "
             f"{machine['disk_filesystem']} ({machine['disk_granularity']}).", ""]
    goals = [row for row in run["rows"] if row["goal"] is not None]
    missed = sum(map(misses, goals))
    lines += [f"{len(goals) - missed} of {len(goals)} goals are met.", ""]
    for workload in WORKLOADS:
        rows = [row for row in run["rows"] if row["workload"] == workload]
        if not rows:
            continue
        lines += [f"### {workload}", "", "| variant | payload | median (min – max) | unit | limit | ratio | goal |",
                  "|---|---|---|---|---|---|---|"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in rows] + [""]
    if run["peers"]:
        lines += ["What the peers do not do:", ""]
        for peer in run["peers"]:
            left_out = f" (left out: {peer['left_out']})" if peer["left_out"] else ""
            lines.append(f"- {peer['name']} ({peer['guarantee']}): {peer['lacks']}{left_out}")
        lines.append("")
    for picture, title in PICTURES.items():
        if os.path.exists(os.path.join(folder, "pictures", picture)):
            lines += [f"![{title}](pictures/{picture})", ""]
    return "\n".join(lines)


def with_unit(value, unit):
    """In the unit that leaves no more than three digits before the point."""
    unit = SHORT_UNITS.get(unit, unit)
    for larger in ("µs", "ms"):
        if value >= 1000 and unit in ("ns", "µs") and unit != larger:
            value, unit = value / 1000, larger
    return f"{number(value)} {unit}"


def readme_text_of(run):
    machine = run["machine"]
    lines = ["", f"On {machine['cpu']}, {machine['cpus']} CPUs, {machine['kernel']}, disk: {machine['disk_filesystem']}; "
             "`" + " ".join(run["command"]) + "`:", "", "| what | payload | cost | limit | ratio |", "|---|---|---|---|---|"]
    made = {(row["workload"], row["variant"], row["payload_bytes"]): row for row in run["rows"]}
    for what, workload, variant, sizes in README_ROWS:
        for size in sizes:
            row = made.get((workload, variant, size))
            if row is None:  # a peer that is not there, or a run without --all
                continue
            lines.append(f"| {what} | {size} | {with_unit(row['median'], row['unit'])} | "
                         f"{with_unit(row['limit_median'], row['unit'])}: {row['limit']} | {ratio_of(row)} |")
            what = ""
    return "\n".join(lines + [""])


def run_of(file):
    if not os.path.exists(file):
        return None
    with open(file, encoding="utf-8") as text:
        run = json.load(text)
    if run["schema"] != 1:
        raise SystemExit(f"{file}: schema {run['schema']}, and only 1 is known here")
    if run["settings"]["quick"]:
        raise SystemExit(f"{file}: made with --quick, so its figures mean nothing")
    return run


def parts_of(page):
    """What stands before the figures, and behind; and all of it."""
    with open(page, encoding="utf-8") as text:
        old = text.read()
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise SystemExit(f"{page}: the lines {BEGIN} and {END} do not stand in it once each, in this order")
    return old.split(BEGIN)[0], old.split(END)[1], old


def main(arguments):
    checking = arguments[:1] == ["--check"]
    if len(arguments) != 3 + checking:
        raise SystemExit(__doc__)
    file, page, readme = arguments[checking:]
    run = run_of(file)
    if run is None and not checking:
        raise SystemExit(f"{file}: no such file")
    folder = os.path.dirname(os.path.abspath(page))
    for target, figures in ((page, run and text_of(run, folder)), (readme, run and readme_text_of(run))):
        before, behind, old = parts_of(target)
        new = before + BEGIN + "\n" + (NONE if figures is None else figures) + "\n" + END + behind
        if checking and new != old:
            raise SystemExit(f"{target}: its figures are not those of {file}; make them with {os.path.basename(__file__)}")
        if checking and run and target == page and " ".join(run["command"]) + "\n" not in before:
            raise SystemExit(f"{page}: tells another command to make its figures than the one that made {file}")
        if not checking:
            with open(target, "w", encoding="utf-8") as text:
                text.write(new)


if __name__ == "__main__":
    main(sys.argv[1:])
