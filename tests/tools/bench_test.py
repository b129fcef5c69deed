#!/usr/bin/env python3
"""pmemstream-bench as its users see it: every workload gives its rows, --json keeps to its schema, --check decides by
the goals, mistakes are told. Nothing here looks at how fast anything was: --quick makes figures that mean nothing.

bench_test.py BENCH SCHEMA TABLE_SCRIPT
"""
import copy
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from json_schema import violations  # noqa: E402

BENCH, SCHEMA_FILE, TABLE_SCRIPT = sys.argv[1:4]
with open(SCHEMA_FILE, encoding="utf-8") as text:
    SCHEMA = json.load(text)
failures = 0


def check(fine, what):
    global failures
    if not fine:
        failures += 1
        print(f"failed: {what}")


def bench(folder, *words, environment=None):
    places = ["--file", os.path.join(folder, "m"), "--disk-file", os.path.join(folder, "d")]
    return subprocess.run([BENCH, *words, *places], capture_output=True, text=True, timeout=500, check=False,
                          env=environment)


# What each workload has to measure: parts of its variants' names.
ROWS = {
    "append": ["touched : raw with CRC", "touched : raw", "budget, up to append()", "untouched, memory : raw", "untouched, disk : touched",
               "untouched, disk : touched, p99.9", "pre-touched, memory : touched, p99.9", "pre-touched, disk : touched",
               "pre-touched and overtaken, disk : touched", "pre-touched at 2 M/s, disk : touched, p99.9",
               "3 parked readers",
               "1 reader that keeps up", "1 reader that sleeps", "wakes for 1 that sleeps"],
    "durable": ["cache line", "page, 1 waiting", "page, 4 waiting : one", "page, 16 waiting : one",
                "page, 64 waiting : one", "page, 64 waiting : bare",
                "policy 10 ms, median"],
    "read": ["warm", "warm, CRC", "warm, merged over 16", "warm, merged over 16, CRC", "cold", "cold, CRC",
             "cold, merged over 16", "cold, merged over 16, CRC"],
    "stream": ["two processes"],
    "latency": ["echo, p50", "echo, p99.99", "seen, 20000/s, p50", "seen, 20000/s, p99.99"],
    "wake": ["append to awake, p50", "cost to the writer, p50"],
    "open": ["create", "closed, ", "killed, "],
    "jitter": ["gap, p50", "longest gap"],
    "peers": ["committed: write(2)", "persisted: write + fdatasync"],
}


def in_memory():
    """A folder where syncs take no time: what is not about them runs there."""
    return tempfile.TemporaryDirectory(prefix="pmemstream-bench-test-", dir="/dev/shm")


def whole_run():
    with tempfile.TemporaryDirectory(prefix="pmemstream-bench-test-") as folder:
        out = os.path.join(folder, "run.json")
        ran = bench(folder, "--quick", "--all", "--size", "64", "--readers", "3", "--rate", "20000", "--seconds", "0.2",
                    "--json", out)
        check(ran.returncode == 0, f"a whole run ends with {ran.returncode}: {ran.stderr}")
        check(ran.stderr == "", f"no progress bar without a terminal, and no complaint: {ran.stderr}")
        check(sorted(os.listdir(folder)) == ["run.json"], f"files are left: {os.listdir(folder)}")
        if ran.returncode != 0:
            return None
        check(ran.stdout.count("CPUs; Linux ") == 1 and "CPUs; Linux " in ran.stdout.splitlines()[0],
              "the first line is about the machine")
        with open(out, encoding="utf-8") as text:
            return json.load(text)


def look_at(report):
    for sentence in violations(report, SCHEMA, SCHEMA):
        check(False, sentence)
    for workload, variants in ROWS.items():
        made = [row["variant"] for row in report["rows"] if row["workload"] == workload]
        for variant in variants:
            check(any(variant == one or (variant.endswith((" ", "create")) and one.startswith(variant)) for one in made),
                  f"{workload} has no row {variant}; it has {made}")
    for row in report["rows"]:
        check(row["min"] <= row["median"] <= row["max"], f"median outside of min and max: {row}")
    check(report["settings"]["quick"] is True, "a quick run says that it is one")
    names = [peer["name"] for peer in report["peers"]]
    check(len(names) == len(set(names)) == 10, f"every peer is named once: {names}")
    for peer in report["peers"]:
        rows = [row for row in report["rows"] if row["workload"] == "peers" and row["limit"] == peer["name"]]
        check(bool(rows) == (peer["left_out"] is None), f"{peer['name']} is measured, or said to be left out: {peer}")
        goal = 0.5 if peer["name"] == "libpmemlog" else 1
        check(all(row["goal"] == goal for row in rows), f"{peer['name']} has the goal {goal} at 64 bytes: {rows}")
    for one in report["distributions"]:
        check(sum(count for _, count in one["values"]) > 0 and one["values"] == sorted(one["values"]),
              f"a distribution without values, or out of order: {one['variant']}")


def look_at_the_look(report):
    """The check of the schema can fail."""
    def spoiled(change):
        other = copy.deepcopy(report)
        change(other)
        return violations(other, SCHEMA, SCHEMA)

    changes = {
        "a missing key": lambda r: r["rows"][0].pop("ratio"),
        "an unknown key": lambda r: r["rows"][0].update(extra=1),
        "an unknown unit": lambda r: r["rows"][0].update(unit="ms"),
        "an unknown workload": lambda r: r["rows"][0].update(workload="bogus"),
        "a number as text": lambda r: r["rows"][0].update(median="3"),
        "a limit that takes no time": lambda r: r["rows"][0].update(limit_median=0),
        "a goal of another type": lambda r: r["rows"][0].update(goal=False),
        "another schema": lambda r: r.update(schema=2),
        "no machine": lambda r: r.pop("machine"),
    }
    for name, change in changes.items():
        check(spoiled(change), f"the schema lets {name} pass")


def table(report):
    """The page's figures are a run's, whole, or the check says so."""
    with in_memory() as folder:
        run, page, readme = (os.path.join(folder, name) for name in ("run.json", "page.md", "README.md"))

        def script(*words):
            return subprocess.run([sys.executable, "-B", TABLE_SCRIPT, *words, run, page, readme], capture_output=True,
                                  text=True, check=False)

        def write(file, text):
            with open(file, "w", encoding="utf-8") as to:
                to.write(text)

        command = " ".join(report["command"])
        for file in (page, readme):
            write(file, f"before\n{command}\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nbehind\n")
        write(run, json.dumps(report))
        check(script().returncode != 0, "figures that mean nothing become a table")
        slow = copy.deepcopy(report)
        slow["settings"]["quick"] = False
        slow["rows"][0].update(ratio=1.0504, goal=1.05)
        write(run, json.dumps(slow))
        check(script("--check").returncode != 0, "an old table passes for a new one")
        check(script().returncode == 0 and script("--check").returncode == 0, "a table just made is not the run's")
        with open(page, encoding="utf-8") as text:
            made = text.read()
        check(made.startswith("before\n") and made.endswith("behind\n"), "what is around the table changed")
        for row in report["rows"]:
            check(f"| {row['variant']} | {row['payload_bytes'] or ''} |" in made, f"the table lacks {row['variant']}")
        check("| **1.0504** missed | 1.05 |" in made, "the table does not say by how much a goal is missed")
        with open(readme, encoding="utf-8") as text:
            short = text.read()
        check("| append, committed, CRC included | 64 | " in short and "| a cursor's walk | 64 | " in short,
              f"the README lacks figures: {short}")
        for file, text in ((page, made), (readme, short)):
            write(file, text.replace("| 64 | ", "| 64 | 1", 1))
            check(script("--check").returncode != 0, f"figures that somebody touched pass: {file}")
            write(file, text)
        check(script("--check").returncode == 0, "figures put back do not pass")
        write(page, made.replace(f"before\n{command}", "before\npmemstream-bench --other"))
        check(script("--check").returncode != 0, "another command than the run's passes")
        write(page, made)
        os.remove(run)
        check(script("--check").returncode != 0, "a table without a run passes")
        check(script().returncode != 0, "there is no run to make a table of")


def decisions():
    with in_memory() as folder:
        for tolerance, status in (("1e9", 0), ("1e-9", 8)):
            ran = bench(folder, "--quick", "stream", "--size", "64", "--check", "--tolerance", tolerance)
            check(ran.returncode == status, f"--check with the goals times {tolerance} ends with {ran.returncode}")
        ran = bench(folder, "--quick", "stream", "--size", "64", "--tolerance", "1e-9")
        check(ran.returncode == 0, "goals are nothing without --check")


def large_payloads():
    """What the command line lets pass fits into every workload's memory."""
    with in_memory() as folder:
        out = os.path.join(folder, "run.json")
        for size in ("65536", "1048576"):
            for workload in ROWS:
                ran = bench(folder, "--quick", workload, "--size", size, "--readers", "2", "--seconds", "0.05", "--json", out)
                check(ran.returncode == 0 and ran.stderr == "",
                      f"{workload} with {size} bytes ends with {ran.returncode}: {ran.stderr}")
                if ran.returncode != 0:
                    continue
                with open(out, encoding="utf-8") as text:
                    made = [(row["variant"], row["payload_bytes"]) for row in json.load(text)["rows"]]
                check(len(made) == len(set(made)), f"the same is measured twice: {made}")


def own_sizes():
    """Without --size, pages met for the first time are measured for small and large entries."""
    with in_memory() as folder:
        out = os.path.join(folder, "run.json")
        ran = bench(folder, "--quick", "append", "--readers", "1", "--json", out)
        check(ran.returncode == 0, f"append with its own sizes ends with {ran.returncode}: {ran.stderr}")
        with open(out, encoding="utf-8") as text:
            rows = json.load(text)["rows"]
        for place in ("memory", "disk"):
            for variant in (f"untouched, {place} : raw", f"untouched, {place} : touched", f"pre-touched, {place} : touched"):
                sizes = [row["payload_bytes"] for row in rows if row["variant"] == variant]
                check(sizes == [8, 64, 4096], f"{variant} is measured at {sizes}")


def on_a_terminal():
    """The progress bar is there where somebody looks, and gone at the end."""
    with in_memory() as folder:
        terminal, its_end = pty.openpty()
        ran = subprocess.Popen([BENCH, "--quick", "wake", "read", "--size", "64", "--file", f"{folder}/m", "--disk-file",
                                f"{folder}/d"], stdout=subprocess.DEVNULL, stderr=its_end)
        os.close(its_end)
        shown = b""
        while True:
            try:
                more = os.read(terminal, 4096)
            except OSError:  # that is how Linux says that the other end is closed
                break
            if not more:
                break
            shown += more
        os.close(terminal)
        check(ran.wait(timeout=60) == 0, "a run on a terminal fails")
        check(b"] 0/2 " in shown and b"] 1/2 " in shown,
              f"no progress bar on a terminal: {shown[:300]}")
        check(shown.endswith(b"\r\x1b[K"), f"the bar stays at the end: {shown[-80:]}")


def interrupted():
    """SIGINT ends it between two turns, and its files go."""
    with in_memory() as folder:
        ran = subprocess.Popen([BENCH, "jitter", "--seconds", "5", "--repetitions", "50", "--file", f"{folder}/m",
                                "--disk-file", f"{folder}/d"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ran.stdout.readline()  # the machine: signals are caught before it is shown
        ran.send_signal(signal.SIGINT)
        _, said = ran.communicate(timeout=120)
        check(ran.returncode == 130, f"interrupted, it ends with {ran.returncode}: {said}")
        check(os.listdir(folder) == [], f"interrupted, it leaves {os.listdir(folder)}")


def second_process_killed():
    """Whoever spins for something that never comes is told, and ends."""
    with in_memory() as folder:
        ran = subprocess.Popen([BENCH, "stream", "--repetitions", "1000", "--file", f"{folder}/m", "--disk-file",
                                f"{folder}/d"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        children = []
        deadline = time.monotonic() + 60
        while not children and time.monotonic() < deadline:
            with open(f"/proc/{ran.pid}/task/{ran.pid}/children", encoding="utf-8") as list_of_them:
                children = list_of_them.read().split()
        check(len(children) == 1, f"one second process: {children}")
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        _, said = ran.communicate(timeout=120)
        check(ran.returncode == 4 and "second process" in said, f"without it: {ran.returncode} {said}")


def pictures():
    """Drawn where there is gnuplot, which nothing else needs; and told where it fails."""
    with in_memory() as folder:
        if shutil.which("gnuplot"):
            ran = bench(folder, "--quick", "append", "stream", "latency", "--size", "8,64", "--readers", "1,3", "--plot",
                        os.path.join(folder, "pictures"))
            check(ran.returncode == 0, f"drawing ends with {ran.returncode}: {ran.stderr}")
            for name in ("latency.svg", "throughput.svg", "readers.svg"):
                picture = os.path.join(folder, "pictures", name)
                check(os.path.exists(picture) and xml.etree.ElementTree.parse(picture).getroot().tag.endswith("svg"),
                      f"{name} is no picture")
        failing = os.path.join(folder, "gnuplot")
        with open(failing, "w", encoding="utf-8") as script:
            script.write("#!/bin/sh\nexit 3\n")
        os.chmod(failing, 0o755)
        ran = bench(folder, "--quick", "append", "--size", "64", "--plot", os.path.join(folder, "none"),
                    environment={**os.environ, "PATH": folder + ":" + os.environ["PATH"]})
        check(ran.returncode == 4 and "readers.svg" in ran.stderr, f"gnuplot fails: {ran.returncode} {ran.stderr}")


def mistakes():
    with in_memory() as folder:
        wrong = [["bogus"], ["--size", "0"], ["--size", "many"], ["--size", "2000000"], ["--readers", "0"],
                 ["--readers", "5000"], ["--rate", "0"], ["--rate", "nan"], ["--seconds", "0"], ["--cpu", "9999"],
                 ["--cpu", "0,1,2"], ["--cpu", "0,0"], ["--repetitions", "4"], ["--tolerance", "0"], ["--bogus"], ["--json"]]
        for words in wrong:
            ran = bench(folder, *words)
            check(ran.returncode == 1 and ran.stderr.count("\n") == 1 and len(ran.stderr) > 30 and ran.stdout == "",
                  f"{words}: status {ran.returncode}, {ran.stdout[:80]} {ran.stderr}")
        away = os.path.join(folder, "away")
        ran = subprocess.run([BENCH, "--quick", "--file", f"{away}/m"], capture_output=True, text=True, check=False)
        check(ran.returncode == 4 and away in ran.stderr, f"no such folder: {ran.returncode} {ran.stderr}")
        ran = bench(folder, "--quick", "stream", "--size", "64", "--json", f"{away}/x.json")
        check(ran.returncode == 4 and away in ran.stderr and ran.stdout == "",
              f"a report nobody can write, told before anything is measured: {ran.returncode} {ran.stdout} {ran.stderr}")
        kept = os.path.join(folder, "kept.json")
        with open(kept, "w", encoding="utf-8") as text:
            text.write("old")
        ran = bench(folder, "--quick", "stream", "--size", "64", "--json", kept, "--plot", os.path.join(kept, "pictures"))
        with open(kept, encoding="utf-8") as text:
            check(ran.returncode == 4 and text.read() == "old", f"a run that does not begin leaves an old report: {ran}")
        with open("/dev/full", "w", encoding="utf-8") as full:
            ran = subprocess.run([BENCH, "--quick", "stream", "--size", "64", "--file", f"{folder}/m"], stdout=full,
                                 stderr=subprocess.PIPE, text=True, check=False)
        check(ran.returncode == 4 and "standard output" in ran.stderr, f"a full disk: {ran.returncode} {ran.stderr}")
        ran = bench(folder, "--quick", "stream", "--plot", os.path.join(folder, "pictures"),
                    environment={**os.environ, "PATH": folder})
        check(ran.returncode == 4 and "gnuplot" in ran.stderr and ran.stdout == "",
              f"no gnuplot: {ran.returncode} {ran.stderr}")


def main():
    report = whole_run()
    if report is not None:
        look_at(report)
        look_at_the_look(report)
        table(report)
    decisions()
    large_payloads()
    own_sizes()
    on_a_terminal()
    interrupted()
    second_process_killed()
    pictures()
    mistakes()
    print(f"{failures} failures")
    return 1 if failures else 0


sys.exit(main())
