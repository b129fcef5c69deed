#!/usr/bin/env python3
"""Rules that hold for the source tree and that no compiler checks.

tidy.py layering|labels|files|readme ROOT
tidy.py man ROOT TOOL...          TOOL: the path of a built program

Prints every violation, then what was looked at; exits with 1 if there was a violation.
"""
import os
import re
import subprocess
import sys

CPP = (".hpp", ".cpp", ".h", ".c")


class Report:
    """Violations of one rule set, and how much was looked at: a check that saw nothing has checked nothing."""

    def __init__(self):
        self.violations = 0

    def violation(self, where, what):
        self.violations += 1
        print(f"{where}: {what}")

    def finish(self, seen, least):
        print(f"{seen} looked at, {self.violations} violations")
        if seen < least:
            print(f"fewer than {least}: the check misses the tree")
            return 1
        return 1 if self.violations else 0


def files_below(root, folders):
    """Paths relative to the root, of files that are sources (not what a build or Python left)."""
    for folder in folders:
        for directory, inner, names in os.walk(os.path.join(root, folder)):
            inner[:] = sorted(d for d in inner if d not in ("__pycache__", "build"))
            for name in sorted(names):
                yield os.path.relpath(os.path.join(directory, name), root)


def text_of(root, path):
    with open(os.path.join(root, path), encoding="utf-8", newline="") as file:
        return file.read()


# --- layering ---------------------------------------------------------------------------------------------------------
#
# Includes point downward only. A layer may use itself, every layer below it, and the public headers, which hold the
# types that all share and use nothing of the layers.

LAYERS = [  # from the bottom
    "src/base",
    "src/format",
    "src/medium",
    "ipc",
    "src/durability",
    "src/stream",
    "src/recovery",
    "src/reader",
    "src/writer",
    "src/capi",
]

# Neither of the two uses the other: what both need lies below them.
SEPARATE = ("src/reader", "src/writer")

# Tools use the public headers alone; these may use the library's layers up to one as well. The limits in tools/bench
# compute the CRC as the library does.
TOOL_LAYERS = {"tools/verify": "src/format", "tools/salvage": "src/format", "tools/bench": "src/base"}
# And these are parts of another: who may use whom, beside tools/common and the own folder.
TOOL_PARTS = {
    "tools/inspect": ("tools/verify", "tools/salvage"),
    "tools/salvage": ("tools/verify",),
}

# Headers of others that only these folders may use.
OWNERS = [
    (r"libpmem2\.h", ("src/medium", "src/capi")),
    (r"boost/.*", tuple(LAYERS)),
    (r"fmt/.*", tuple(LAYERS) + ("tools",)),
    (r"linux/futex\.h|linux/membarrier\.h", ("ipc", "tools/bench")),  # bench: what a bare futex costs
]

# No I/O: what is in memory is judged, nothing is fetched.
NO_IO = ("src/format",)
IO_HEADERS = r"(fcntl|unistd|sys/mman|sys/stat|sys/ioctl)\.h|fstream|iostream|filesystem|cstdio|stdio\.h"

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)


def layer_of(path):
    for rank, folder in enumerate(LAYERS):
        if path.startswith(folder + "/"):
            return rank
    return None


def within(path, folders):
    return any(path.startswith(folder + "/") for folder in folders)


def may_include(path, target):
    """Why not, or nothing. `target` is relative to the root of the repository."""
    public = target.startswith("include/")
    if path.startswith("include/"):
        return None if public else "a public header uses an inner one"
    if path.startswith("examples/"):
        return None if public or target.startswith("examples/") else "examples use the public headers alone"
    if path.startswith("tools/"):
        own = "/".join(path.split("/")[:2])
        if public or within(target, (own, "tools/common") + TOOL_PARTS.get(own, ())):
            return None
        if own in TOOL_LAYERS and layer_of(target) is not None and layer_of(target) <= LAYERS.index(TOOL_LAYERS[own]):
            return None
        return "a tool uses the public headers, tools/common, its own folder and its parts alone"
    from_layer, to_layer = layer_of(path), layer_of(target)
    if public:
        return None
    if to_layer is None:
        return "the library uses neither tools nor tests"
    if to_layer > from_layer:
        return f"{LAYERS[from_layer]} lies below {LAYERS[to_layer]}: includes point downward only"
    if from_layer != to_layer and LAYERS[from_layer] in SEPARATE and LAYERS[to_layer] in SEPARATE:
        return f"{' and '.join(SEPARATE)} do not use each other"
    return None


def layering(root):
    report = Report()
    seen = 0
    for path in files_below(root, ("include", "src", "ipc", "tools", "examples")):
        if not path.endswith(CPP):
            continue
        if path.startswith(("src/", "ipc/")) and layer_of(path) is None:
            report.violation(path, "lies in no layer")
            continue
        for match in INCLUDE.finditer(text_of(root, path)):
            seen += 1
            quoted, name = match.group(1) == '"', match.group(2)
            line = text_of(root, path).count("\n", 0, match.start()) + 1
            where = f"{path}:{line}"
            if quoted or name.startswith("pmemstream/") or name == "libpmemstream.h":
                if path.startswith("include/") and quoted:
                    report.violation(where, "public headers include one another with <>, as users do")
                    continue
                beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
                target = name if quoted else f"include/{name}"
                if quoted and path.startswith("examples/") and os.path.exists(os.path.join(root, beside)):
                    target = beside
                # The header with the version is made by the build.
                if name != "pmemstream/version.hpp" and not os.path.exists(os.path.join(root, target)):
                    report.violation(where, f"{name} is not written from the root of the repository, or not there")
                    continue
                why = may_include(path, target)
                if why:
                    report.violation(where, f"includes {name}: {why}")
            else:
                for pattern, folders in OWNERS:
                    if re.fullmatch(pattern, name) and not within(path, folders):
                        report.violation(where, f"includes {name}, which only {', '.join(folders)} may")
                if within(path, NO_IO) and re.fullmatch(IO_HEADERS, name):
                    report.violation(where, f"includes {name}: no I/O in {', '.join(NO_IO)}")
    return report.finish(seen, 100)


# --- labels -----------------------------------------------------------------------------------------------------------
#
# A comment that begins with [V1] (or D or P) labels the line after it. It names its pairs ("Pairs with [V2] in x.cpp"),
# they name it, and docs/ordering.md has a row for it: | V1 | `file` | what | pairs | without it | test |.

LABEL = r"\[([A-Z]\d+)\]"


def comment_blocks(text):
    """(line number, text) of each run of // comment lines. A label that begins a sentence begins a block of its own."""
    begin, lines = 0, []
    for number, line in enumerate(text.split("\n"), 1):
        match = re.search(r"(?:^|\s)//+<?\s?(.*)$", line)
        alone = match and not line[: match.start()].strip()
        labelled = match and re.match(LABEL, match.group(1).strip()) and lines and lines[-1].endswith((".", ":", ";"))
        if lines and (not alone or labelled):
            yield begin, " ".join(lines)
            lines = []
        if match:
            if not lines:
                begin = number
            lines.append(match.group(1).strip())
    if lines:
        yield begin, " ".join(lines)


def labels(root):
    report = Report()
    defined, pairs, mentions = {}, {}, []
    for path in files_below(root, ("include", "src", "ipc")):
        if not path.endswith(CPP):
            continue
        for line, text in comment_blocks(text_of(root, path)):
            found = re.findall(LABEL, text)
            mentions += [(f"{path}:{line}", label) for label in found]
            for label, file in re.findall(LABEL + r" in ([\w/]+\.[ch]pp)", text):
                mentions.append((f"{path}:{line}", label, file))
            match = re.match(LABEL, text)
            if not match:
                continue
            label = match.group(1)
            if label in defined:
                report.violation(f"{path}:{line}", f"[{label}] is also at {defined[label]}")
            defined[label] = f"{path}:{line}"
            # Up to the end of the sentence; file names hold dots as well.
            sentence = re.search(r"[Pp]airs with(.*?)(?:[.:;](?:\s|$)|$)", text)
            pairs[label] = set(re.findall(LABEL, sentence.group(1))) if sentence else set()
            if not pairs[label]:
                report.violation(f"{path}:{line}", f"[{label}] names no pair")
    for where, label, *file in mentions:
        if label not in defined:
            report.violation(where, f"mentions [{label}], which labels nothing")
        elif file and not defined[label].split(":")[0].endswith(file[0]):
            report.violation(where, f"says that [{label}] is in {file[0]}, but it is at {defined[label]}")
    for label, others in pairs.items():
        for other in others & defined.keys():
            if label not in pairs[other]:
                report.violation(defined[other], f"[{other}] does not name [{label}], which names it")

    rows = {}
    for number, line in enumerate(text_of(root, "docs/ordering.md").split("\n"), 1):
        match = re.match(r"\|\s*([A-Z]\d+)\s*\|", line)
        if not match:
            continue
        where, label = f"docs/ordering.md:{number}", match.group(1)
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if label in rows:
            report.violation(where, f"a second row for {label}")
        rows[label] = where
        if label not in defined:
            report.violation(where, f"{label} labels nothing in the code")
            continue
        if len(cells) != 6 or not all(cells):
            report.violation(where, "not six filled cells: label, where, what, pairs with, without it, test")
            continue
        if f"`{defined[label].split(':')[0]}`" != cells[1]:
            report.violation(where, f"says {cells[1]}, but {label} is at {defined[label]}")
        if set(re.findall(r"\b[A-Z]\d+\b", cells[3])) != pairs[label]:
            report.violation(where, f"pairs {cells[3]}; the code says {', '.join(sorted(pairs[label])) or 'none'}")
        for path in re.findall(r"`((?:tests|src|ipc|include)/[^`]*)`", line):
            if not os.path.exists(os.path.join(root, path)):
                report.violation(where, f"{path} does not exist")
    for label in sorted(defined.keys() - rows.keys()):
        report.violation(defined[label], f"[{label}] has no row in docs/ordering.md")
    mutants = "".join(text_of(root, path) for path in ("src/base/mutant.hpp", "tests/model/run_spin.sh"))
    for label in sorted(defined.keys() - set(re.findall(r"\b[A-Z]\d+\b", mutants))):
        report.violation(defined[label], f"[{label}] has no mutant, in src/base/mutant.hpp or tests/model/run_spin.sh")
    return report.finish(len(defined), 20)


# --- files ------------------------------------------------------------------------------------------------------------

LINES_MAX = 400
TEXT = CPP + (".py", ".sh", ".cmake", ".txt", ".md", ".in", ".map", ".json", ".pml", ".1")
# Work to be done stands in issues, and nobody else's machine looks like ours. (Spelled so that this file may be checked
# like any other.)
FORBIDDEN = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b|/ho" r"me/|/ro" r"ot/")
FOLDERS = ("include", "src", "ipc", "tools", "tests", "examples", "docs", "cmake", ".ci")


def files(root):
    report = Report()
    seen = 0
    top = [name for name in sorted(os.listdir(root)) if os.path.isfile(os.path.join(root, name))]
    for path in list(files_below(root, FOLDERS)) + top:
        if not path.endswith(TEXT):
            continue
        seen += 1
        text = text_of(root, path)
        lines = text.split("\n")
        if path.endswith(CPP):
            if len(lines) - 1 > LINES_MAX:
                report.violation(path, f"{len(lines) - 1} lines, more than {LINES_MAX}: more than one concept?")
            if not re.fullmatch(r"[a-z0-9_]+\.\w+", os.path.basename(path)):
                report.violation(path, "file names are snake_case")
            if path.endswith((".hpp", ".h")) and not re.match(r"(//.*\n)*#pragma once\n", text):
                report.violation(path, "a header begins with #pragma once")
        if not text.endswith("\n") or text.endswith("\n\n"):
            report.violation(path, "does not end with one newline")
        for number, line in enumerate(lines, 1):
            where = f"{path}:{number}"
            if line != line.rstrip():
                report.violation(where, "ends with white space")
            if "\t" in line and not path.endswith(".1"):
                report.violation(where, "holds a tab")
            if FORBIDDEN.search(line):
                report.violation(where, f"says {FORBIDDEN.search(line).group(0)}")
    return report.finish(seen, 100)


# --- manual pages -----------------------------------------------------------------------------------------------------

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def help_of(tool, *command):
    asked = subprocess.run([tool, *command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    if asked.returncode != 0:
        raise SystemExit(f"{tool} {' '.join(command)} --help ended with {asked.returncode}: {asked.stderr}")
    return asked.stdout


def commands_of(text):
    """The names in the list of subcommands, if the help has one."""
    section = re.search(r"^(?:Subcommands|Commands):\n((?:[ \t]+.*\n|\n)*)", text, re.MULTILINE | re.IGNORECASE)
    return re.findall(r"^  ([a-z][a-z-]*)\b", section.group(1), re.MULTILINE) if section else []


def man(root, tools):
    report = Report()
    seen = 0
    helps = {}  # program -> {command, or "" for the program: help}
    for tool in tools:
        shown = help_of(tool)
        helps[os.path.basename(tool)] = {"": shown} | {c: help_of(tool, c) for c in commands_of(shown)}
    # An example on a page may call another of the tools.
    known = {option for texts in helps.values() for text in texts.values() for option in OPTION.findall(text)}
    for name, texts in helps.items():
        page = f"docs/man/{name}.1"
        if not os.path.exists(os.path.join(root, page)):
            report.violation(page, "does not exist")
            continue
        text = text_of(root, page).replace("\\-", "-")
        if not re.search(rf"^\.TH {re.escape(name)} 1\b", text, re.MULTILINE | re.IGNORECASE):
            report.violation(page, f"has no line .TH {name} 1")
        offered = {option for shown in texts.values() for option in OPTION.findall(shown)}
        described = set(OPTION.findall(text))
        for command in filter(None, texts):
            if not re.search(rf"\b{command}\b", text):
                report.violation(page, f"does not mention the command {command}")
        for option in sorted(offered - described):
            report.violation(page, f"does not mention {option}, which --help lists")
        for option in sorted(described - known):
            report.violation(page, f"mentions {option}, which no --help lists")
        seen += len(offered) + len(texts) - 1
    return report.finish(seen, 5 * len(tools))


# --- the README's example ---------------------------------------------------------------------------------------------
#
# Every line of its first C++ block stands, in this order, in examples/quickstart.cpp, which is built and run.


def code_lines(text):
    """Lines of code without comments, indentation and alignment."""
    stripped = (" ".join(re.sub(r"//.*", "", line).split()) for line in text.split("\n"))
    return [line for line in stripped if line]


def readme(root):
    report = Report()
    block = re.search(r"^```cpp\n(.*?)^```$", text_of(root, "README.md"), re.MULTILINE | re.DOTALL)
    shown = code_lines(block.group(1)) if block else []
    compiled = iter(code_lines(text_of(root, "examples/quickstart.cpp")))
    for line in shown:
        if line not in compiled:  # which takes from the iterator up to the line
            report.violation("README.md", f"the example's next line is not in examples/quickstart.cpp: {line}")
            break
    return report.finish(len(shown), 8)


def main(arguments):
    rules = {"layering": layering, "labels": labels, "files": files, "readme": readme}
    if len(arguments) == 2 and arguments[0] in rules:
        return rules[arguments[0]](arguments[1])
    if len(arguments) > 2 and arguments[0] == "man":
        return man(arguments[1], arguments[2:])
    print(__doc__.strip(), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
