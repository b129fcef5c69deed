#!/usr/bin/env python3
"""Every rule of tidy.py finds what breaks it: a small tree in which all is well, then one change at a time."""
import contextlib
import io
import os
import sys
import tempfile

import tidy

# The least that each rule takes for a tree.
TREE = {
    "include/pmemstream/a.hpp": "#pragma once\n#include <pmemstream/b.hpp>\n",
    "include/pmemstream/b.hpp": "#pragma once\n",
    "src/base/low.hpp": "#pragma once\n#include <pmemstream/b.hpp>\n",
    "src/stream/high.hpp": '#pragma once\n#include "ipc/bell.hpp"\n',
    "src/stream/one.cpp": '#include "src/base/low.hpp"\n'
    "// [V1] release; pairs with the acquire [V2] in two.cpp: who sees it sees all. Without it: half.\n"
    "int one;\n",
    "src/stream/two.cpp": "// [V2] acquire; pairs with\n//      the release [V1] in one.cpp.\nint two;\n",
    "src/reader/cursor.hpp": "#pragma once\n",
    "src/writer/writer.hpp": "#pragma once\n",
    "ipc/bell.hpp": "#pragma once\n",
    "src/base/mutant.hpp": "#pragma once\nenum mutant { first };  // V1: what is swapped\n",
    "tests/model/run_spin.sh": '"lost | V2 NO_LOOK"\n',
    "tools/write/main.cpp": "#include <pmemstream/a.hpp>\n",
    "tools/verify/verify.hpp": '#pragma once\n#include "src/base/low.hpp"\n',
    "tools/salvage/salvage.hpp": '#pragma once\n#include "tools/verify/verify.hpp"\n',
    "tools/inspect/main.cpp": '#include "tools/salvage/salvage.hpp"\n',
    "docs/ordering.md": "| V1 | `src/stream/one.cpp` | what | V2 | loss | `src/stream/two.cpp` |\n"
    "| V2 | `src/stream/two.cpp` | what | V1 | loss | the same |\n",
    "README.md": "```cpp\nint a;   // one\nint b;\n```\n",
    "examples/quickstart.cpp": "int a;\nint more;\n  int b;  // two\n",
}

# (rule, file, text in it, what replaces it, part of the message)
CASES = [
    ("layering", "src/base/low.hpp", "<pmemstream/b.hpp>", '"src/stream/high.hpp"', "downward"),
    ("layering", "ipc/bell.hpp", "once\n", 'once\n#include "src/stream/high.hpp"\n', "downward"),
    ("layering", "src/writer/writer.hpp", "once\n", 'once\n#include "src/reader/cursor.hpp"\n', "do not use each other"),
    ("layering", "include/pmemstream/a.hpp", "<pmemstream/b.hpp>", '"src/base/low.hpp"', "public headers include"),
    ("layering", "include/pmemstream/a.hpp", "pmemstream/b.hpp", "boost/any.hpp", "boost/any.hpp, which only"),
    ("layering", "include/pmemstream/a.hpp", "pmemstream/b.hpp", "fmt/format.h", "fmt/format.h, which only"),
    ("layering", "src/stream/one.cpp", '"src/base/low.hpp"', "<libpmem2.h>", "libpmem2.h, which only"),
    ("layering", "src/stream/one.cpp", "src/base/low.hpp", "low.hpp", "not written from the root"),
    ("layering", "tools/write/main.cpp", "<pmemstream/a.hpp>", '"src/base/low.hpp"', "a tool uses"),
    ("layering", "tools/write/main.cpp", "<pmemstream/a.hpp>", '"tools/verify/verify.hpp"', "a tool uses"),
    ("layering", "tools/verify/verify.hpp", "src/base/low.hpp", "src/stream/high.hpp", "a tool uses"),
    ("layering", "tools/verify/verify.hpp", "src/base/low.hpp", "tools/salvage/salvage.hpp", "a tool uses"),
    ("layering", "tools/inspect/main.cpp", "tools/salvage/salvage.hpp", "src/base/low.hpp", "a tool uses"),
    ("labels", "src/stream/two.cpp", "the release [V1] in one.cpp", "nothing", "[V2] names no pair"),
    ("labels", "src/stream/two.cpp", "[V1]", "[V3]", "mentions [V3], which labels nothing"),
    ("labels", "src/stream/two.cpp", "in one.cpp", "in two.cpp", "says that [V1] is in two.cpp"),
    ("labels", "src/stream/two.cpp", "[V2] acquire", "acquire", "mentions [V2], which labels nothing"),
    ("labels", "src/stream/one.cpp", "[V2] in two.cpp", "[V1] in one.cpp", "does not name [V2], which names it"),
    ("labels", "docs/ordering.md", "| V2 | `src", "| Z | `src", "[V2] has no row"),
    ("labels", "docs/ordering.md", "| V1 | loss", "| V2 | loss", "the code says V1"),
    ("labels", "docs/ordering.md", "`src/stream/two.cpp` |\n", "`tests/none` |\n", "tests/none does not exist"),
    ("labels", "docs/ordering.md", "| V1 | `src/stream/one.cpp`", "| V1 | `ipc/bell.hpp`", "but V1 is at"),
    ("labels", "src/base/mutant.hpp", "V1", "nothing", "[V1] has no mutant"),
    ("labels", "tests/model/run_spin.sh", "V2", "nothing", "[V2] has no mutant"),
    ("readme", "README.md", "int b;", "int c;", "next line is not in"),
    ("readme", "examples/quickstart.cpp", "int a;\n", "", "next line is not in"),
    ("files", "src/stream/one.cpp", "int one;\n", "int one;\n" * 401, "more than 400"),
    ("files", "src/stream/one.cpp", "int one;\n", "int one;", "one newline"),
    ("files", "src/stream/one.cpp", "int one;\n", "int one; \n", "white space"),
    ("files", "src/stream/one.cpp", "int one;\n", "\tint one;\n", "tab"),
    ("files", "src/stream/one.cpp", "int one;\n", "int one;  // TO" "DO\n", "says TO"),
    ("files", "ipc/bell.hpp", "#pragma once\n", "int bell;\n", "#pragma once"),
]


def run(rule, changed=None, old="", new=""):
    """What the rule prints, less the line with the counts (a tree this small is too small for it)."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in TREE.items():
            if path == changed:
                if old not in text:
                    raise SystemExit(f"{path} does not hold {old!r}")
                text = text.replace(old, new, 1)
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            getattr(tidy, rule)(root)
        return [line for line in said.getvalue().split("\n") if ": " in line and not line.startswith("fewer than")]


def main():
    wrong = 0
    for rule in ("layering", "labels", "files", "readme"):
        found = run(rule)
        if found:
            wrong += 1
            print(f"{rule} finds in a tree where all is well: {found}")
    for rule, path, old, new, message in CASES:
        found = run(rule, path, old, new)
        if not any(message in line for line in found):
            wrong += 1
            print(f"{rule}, {old!r} in {path} replaced by {new[:40]!r}: no {message!r} in {found}")
    print(f"{len(CASES)} violations tried, {wrong} not found")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
