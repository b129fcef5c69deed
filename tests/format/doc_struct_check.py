#!/usr/bin/env python3
"""Compares the tables of docs/format.md with the structs as the compiler lays them out.

usage: doc_struct_check.py FORMAT.md STRUCT_TABLE_PROGRAM TINY.stream.gz
       doc_struct_check.py --example TINY.stream.gz      (prints the example's lines)

Fails if a row is missing, extra or different, if the rows of a struct do not cover it without a gap, if a constant or
a test vector differs, or if the example is not a dump of the tiny golden stream. Then it makes every kind of mistake
in the page, in memory, and checks that it would have noticed.
"""

import gzip
import re
import subprocess
import sys


def rows_below(lines, start):
    """The cells of the first markdown table at or behind line `start`, heading and ruler left out."""
    while start < len(lines) and not lines[start].startswith("|"):
        if lines[start].startswith("#"):
            return []
        start += 1
    rows = []
    while start < len(lines) and lines[start].startswith("|"):
        rows.append([cell.strip() for cell in lines[start].strip().strip("|").split("|")])
        start += 1
    return rows[2:]


def plain(cell):
    return cell.strip("`")


def once(table, name, value, page):
    if name in table:
        page["problems"].append(f"{name}: two rows")
    table[name] = value


def parse_page(text):
    lines = text.split("\n")
    page = {"structs": {}, "constants": {}, "bits": {}, "problems": []}
    for number, line in enumerate(lines):
        heading = re.fullmatch(r"### `(\w+)`: (\d+) (bytes|bits)", line)
        if heading:
            name, size, unit = heading.group(1), int(heading.group(2)), heading.group(3)
            rows = rows_below(lines, number + 1)
            if unit == "bits":
                for first, count, field, _ in rows:
                    once(page["bits"], plain(field), (int(first), int(count)), page)
                continue
            if name in page["structs"]:
                page["problems"].append(f"{name}: two tables")
            fields, expected = [], 0
            for offset, count, field, _, _ in rows:
                fields.append((plain(field), int(offset), int(count)))
                if int(offset) != expected:
                    page["problems"].append(f"{name}: {field} at {offset}, the one before ends at {expected}")
                expected = int(offset) + int(count)
            if expected != size:
                page["problems"].append(f"{name}: the rows end at {expected}, the struct at {size}")
            page["structs"][name] = (size, fields)
        elif line == "### Constants":
            for name, value, _ in rows_below(lines, number + 1):
                once(page["constants"], plain(name), int(value, 0), page)
    return page


def parse_program(text):
    code = {"structs": {}, "constants": {}, "bits": {}, "vectors": {}}
    for line in text.splitlines():
        kind, name, *rest = line.split()
        if kind == "struct":
            code["structs"][name] = (int(rest[0]), [])
        elif kind == "field":
            code["structs"][name][1].append((rest[0], int(rest[1]), int(rest[2])))
        elif kind == "constant":
            code["constants"][name] = int(rest[0])
        elif kind == "bits":
            code["bits"][name] = (int(rest[0]), int(rest[1]))
        elif kind == "vector":
            code["vectors"][name] = rest[0]
    return code


def compare(text, code, image):
    """Everything that is wrong with the page."""
    page = parse_page(text)
    problems = page["problems"]
    for kind in ("structs", "constants", "bits"):
        for name in sorted(page[kind].keys() | code[kind].keys()):
            said, true = page[kind].get(name), code[kind].get(name)
            if said != true:
                problems.append(f"{kind}: {name}: the page says {said}, the code {true}")
    for name, value in code["vectors"].items():
        if not re.search(rf"{value}\b", text):
            problems.append(f"the test vector {name} = {value} is not on the page")
    example = re.search(r"```hexdump\n(.*?)\n```", text, re.S)
    if not example or example.group(1) != hexdump(image):
        problems.append("the example is not the dump of the tiny golden stream")
    return problems


def hexdump(image):
    lines = []
    for offset in range(0, len(image), 16):
        piece = image[offset:offset + 16]
        if any(piece):
            text = "".join(chr(b) if 32 < b < 127 else "." for b in piece)
            lines.append(f"{offset:04x}  {piece[:8].hex(' ')}  {piece[8:].hex(' ')}  {text}")
    return "\n".join(lines)


def damaged_pages(text):
    """Pages with one mistake each."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        cells = line.split("|")
        if re.match(r"\| \d+ \| \d+ \| `\w+` \|", line):
            yield f"row removed: {line}", lines[:number] + lines[number + 1:]
            yield f"row doubled: {line}", lines[:number] + [line] + lines[number:]
            for cell, change in ((1, " 3 "), (2, " 3 "), (3, " `other` ")):
                changed = "|".join(cells[:cell] + [change] + cells[cell + 1:])
                yield f"row changed: {changed}", lines[:number] + [changed] + lines[number + 1:]
        elif re.match(r"\| `\w+` \| (0x)?[0-9a-f]+ \|", line):
            yield f"constant removed: {line}", lines[:number] + lines[number + 1:]
            changed = "|".join(cells[:2] + [" 77 "] + cells[3:])
            yield f"constant changed: {changed}", lines[:number] + [changed] + lines[number + 1:]
        elif re.match(r"[0-9a-f]{4}  ", line):
            yield f"example changed: {line}", lines[:number] + [line.replace("  ", "  f", 1)] + lines[number + 1:]


def main():
    if sys.argv[1] == "--example":
        with gzip.open(sys.argv[2]) as file:
            print(hexdump(file.read()))
        return 0
    page_path, program, golden = sys.argv[1:]
    with open(page_path, encoding="utf-8") as file:
        text = file.read()
    code = parse_program(subprocess.run([program], check=True, capture_output=True, text=True).stdout)
    with gzip.open(golden) as file:
        image = file.read()
    problems = compare(text, code, image)
    for problem in problems:
        print(f"{page_path}: {problem}")
    if problems:
        return 1
    mistakes = 0
    for what, lines in damaged_pages(text):
        mistakes += 1
        if not compare("\n".join(lines), code, image):
            print(f"this check would not have noticed: {what}")
            return 1
    fields = sum(len(fields) for _, fields in code["structs"].values())
    print(f"{len(code['structs'])} structs, {fields} fields, {len(code['constants'])} constants agree; "
          f"{mistakes} mistakes in the page would be noticed")
    return 0 if len(code["structs"]) >= 13 and mistakes > 300 else 1


if __name__ == "__main__":
    sys.exit(main())
