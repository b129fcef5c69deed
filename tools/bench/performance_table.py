#!/usr/bin/env python3
"""Puts the figures of a run into docs/performance.md, between its two markers, so that nobody types them.

performance_table.py RUN.json PAGE           writes the table of pmemstream-bench --json RUN.json into PAGE
performance_table.py --check RUN.json PAGE   fails where PAGE's table is another than the run's; without a run, the
                                             page must not have one
"""
import json
import os
import sys

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
NONE = "\nNo run is recorded here yet.\n"
WORKLOADS = ["append", "durable", "read", "stream", "latency", "wake", "open", "jitter", "peers"]
PICTURES = {"latency.svg": "How long an echo takes", "throughput.svg": "Entries per second by size",
            "readers.svg": "Cost of an append by number of readers"}


def number(value):
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def cells(row):
    goal = "" if row["goal"] is None else f"{row['goal']:g}"
    missed = row["goal"] is not None and row["ratio"] > row["goal"]
    ratio = f"**{row['ratio']:.2f}** missed" if missed else f"{row['ratio']:.2f}"
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
    missed = sum(row["ratio"] > row["goal"] for row in goals)
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


def figures_of(file, page):
    if not os.path.exists(file):
        return None
    with open(file, encoding="utf-8") as text:
        run = json.load(text)
    if run["schema"] != 1:
        raise SystemExit(f"{file}: schema {run['schema']}, and only 1 is known here")
    if run["settings"]["quick"]:
        raise SystemExit(f"{file}: made with --quick, so its figures mean nothing")
    return text_of(run, os.path.dirname(os.path.abspath(page)))


def main(arguments):
    checking = arguments[:1] == ["--check"]
    if len(arguments) != 2 + checking:
        raise SystemExit(__doc__)
    run, page = arguments[checking:]
    with open(page, encoding="utf-8") as text:
        old = text.read()
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise SystemExit(f"{page}: the lines {BEGIN} and {END} do not stand in it once each, in this order")
    figures = figures_of(run, page)
    if figures is None and not checking:
        raise SystemExit(f"{run}: no such file")
    before, rest = old.split(BEGIN)
    new = before + BEGIN + "\n" + (NONE if figures is None else figures) + "\n" + END + rest.split(END)[1]
    if checking:
        if new != old:
            raise SystemExit(f"{page}: its figures are not those of {run}; make them with {os.path.basename(__file__)}")
        return
    with open(page, "w", encoding="utf-8") as text:
        text.write(new)


if __name__ == "__main__":
    main(sys.argv[1:])
