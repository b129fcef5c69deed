#!/usr/bin/env python3
"""Golden stream files: made once, read the same for ever, refused when damaged.

usage: golden.py check LIBRARY_DUMP
       golden.py make GOLDEN_MAKER LIBRARY_DUMP

golden/NAME.stream.gz is a stream, golden/NAME.jsonl what a reader must show of it, by sequence. golden/damage.json
lists damaged variants: the golden file they come from, edits [file offset, bytes in hex], perhaps a new size of the
file, the exit code both readers must give, and how many entries they may show before.
"""

import contextlib
import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import stream_reader  # beside this file

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
STREAMS = ["tiny", "rich_64", "rich_4096", "killed", "cut"]
NOT_A_STREAM, DAMAGED = 2, 3


def run_program(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr.strip()


def run_stream_reader(arguments):
    """As a program would, without the time that starting one takes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = stream_reader.main(arguments)
    return code, out.getvalue().splitlines(), err.getvalue().strip()


def unpack(name):
    with gzip.open(os.path.join(FOLDER, name + ".stream.gz")) as file:
        return file.read()


def expected_lines(name):
    with open(os.path.join(FOLDER, name + ".jsonl"), encoding="utf-8") as file:
        return file.read().splitlines()


def by_region(lines):
    def place(line):
        entry = json.loads(line)
        return entry["generation"], entry["offset"]
    return sorted(lines, key=place)


def apply(variant):
    image = bytearray(unpack(variant["of"]))
    for offset, text in variant["edits"]:
        new = bytes.fromhex(text)
        if image[offset:offset + len(new)] == new:
            raise SystemExit(f"{variant['name']}: the edit at {offset} changes nothing")
        image[offset:offset + len(new)] = new
    if "size" in variant:
        del image[variant["size"]:]
    return bytes(image)


def check(library):
    failures = []
    read = refused = 0
    readers = (("library", lambda arguments: run_program([library] + arguments)), ("python", run_stream_reader))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = os.path.join(folder, "stream")

        def put(image):
            with open(path, "wb") as file:
                file.write(image)

        for name in STREAMS:
            put(unpack(name))
            merged = expected_lines(name)
            for order, expected in (("merged", merged), ("region", by_region(merged))):
                for who, run in readers:
                    code, lines, error = run(["--order", order, path])
                    read += len(lines)
                    if code != 0 or lines != expected:
                        failures.append(f"{name}, {order} order, {who}: exit {code}, {len(lines)} entries of "
                                        f"{len(expected)} {error}")
        with open(os.path.join(FOLDER, "damage.json"), encoding="utf-8") as file:
            variants = json.load(file)
        for variant in variants:
            put(apply(variant))
            expected = expected_lines(variant["of"])[:variant["shown"]]
            for who, run in readers:
                code, lines, error = run([path])
                refused += 1
                if code != variant["exit"] or lines != expected or not error:
                    failures.append(f"{variant['name']}, {who}: exit {code} for {variant['exit']}, "
                                    f"{len(lines)} entries for {variant['shown']}: {error}")
    for failure in failures:
        print(failure)
    print(f"{len(STREAMS)} golden streams, {read} entries read; {refused} refusals of {len(variants)} damaged variants")
    return 0 if not failures and read > 500 and len(variants) >= 30 else 1


# --- making them ------------------------------------------------------------------------------------------------------

def crc32c(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


class edits:
    """Edits of an image that keep the CRCs right, for lies rather than accidents."""

    def __init__(self, image):
        self.before = image
        self.image = bytearray(image)

    def put(self, offset, layout, *values):
        struct.pack_into("<" + layout, self.image, offset, *values)
        return self

    def get(self, offset, layout):
        return struct.unpack_from("<" + layout, self.image, offset)[0]

    def crc_over(self, begin, end):
        return self.put(end, "I", crc32c(self.image[begin:end]))

    def slot_crcs(self, slot):
        extent, place_and_flags, name = (slot + 8, slot + 24), (slot + 48, slot + 56), (slot + 64, slot + 128)
        place = crc32c(b"".join(self.image[begin:end] for begin, end in (extent, place_and_flags, name)))
        self.put(slot + 56, "I", place)
        return self.put(slot + 60, "I", crc32c(struct.pack("<QQ", self.get(slot, "Q") >> 8, place)
                                               + self.image[slot + 24:slot + 48]))

    def listed(self):
        """Runs of changed bytes."""
        runs = []
        for offset, (old, new) in enumerate(zip(self.before, self.image)):
            if old != new:
                if runs and runs[-1][0] + len(runs[-1][1]) == offset:
                    runs[-1][1].append(new)
                else:
                    runs.append((offset, bytearray([new])))
        return [[offset, run.hex()] for offset, run in runs]


def damaged_variants():
    slot0, slot1 = 4864, 4864 + 384  # "alpha" and "beta"
    header, table = stream_reader.HEADER, stream_reader.FIRST_SEGMENT
    feature_line = header + stream_reader.FEATURE_LINE
    image = unpack("rich_64")
    extent0 = edits(image).get(slot0 + 8, "Q")
    link = edits(image).get(table + 32, "Q")
    second_segment = link & ~63
    entry0 = extent0 + 64
    head0 = (16 + edits(image).get(entry0, "I") + 7) // 8 * 8

    def checked_word(value, bits, crc_bits):
        return value | (crc32c(struct.pack("<Q", value)) & (1 << crc_bits) - 1) << bits

    def lie(name, change, of="rich_64", code=DAMAGED, **more):
        made = edits(unpack(of))
        change(made)
        return {"name": name, "of": of, "edits": made.listed(), "exit": code, "shown": 0, **more}

    def flip(offset, mask=1):
        return lambda made: made.put(offset, "B", made.get(offset, "B") ^ mask)

    def superblock(offset, layout, value):
        return lambda made: made.put(offset, layout, value).crc_over(0, 252)

    def second(offset, layout, value):
        begin = second_segment
        return lambda made: made.put(begin + offset, layout, value).crc_over(begin, begin + 24)

    def slot(offset, layout, value):
        return lambda made: made.put(slot0 + offset, layout, value).slot_crcs(slot0)

    size = len(image)
    variants = [
        lie("magic", flip(3), code=NOT_A_STREAM),
        lie("first sector all zero", lambda made: made.put(0, "512s", b""), code=NOT_A_STREAM),
        lie("empty", lambda made: None, code=NOT_A_STREAM, size=0),
        lie("seven bytes left", lambda made: None, code=NOT_A_STREAM, size=7),
        lie("a part of the superblock left", lambda made: None, size=300),
        lie("a byte is missing", lambda made: None, size=size - 1),
        lie("a block is missing", lambda made: None, size=size - 64),
        lie("superblock CRC", flip(253)),
        lie("UUID", flip(54, 0x40)),
        lie("version 2", superblock(8, "I", 2)),
        lie("version 2 with another superblock", lambda made: made.put(8, "II", 2, 512)),
        lie("incompatible feature", lambda made: made.put(feature_line + 16, "Q", checked_word(1 << 30, 32, 32))),
        lie("a feature word's CRC", flip(feature_line + 20)),
        lie("block of 96 bytes", superblock(16, "Q", 96)),
        lie("growth below the size", superblock(32, "Q", size - 64)),
        lie("growth beyond what any stream has", superblock(32, "Q", 1 << 47)),
        lie("slots of 256 bytes", superblock(44, "I", 256)),
        lie("table elsewhere", superblock(80, "Q", 2048)),
        lie("first block inside the table", superblock(88, "Q", 4096)),
        lie("size without its check", flip(feature_line + 24 + 6)),
        lie("stream larger than its file",
            lambda made: made.put(feature_line + 24, "Q", checked_word(size + 4096, 48, 16))),
        lie("stream smaller than at creation",
            lambda made: made.put(feature_line + 24, "Q", checked_word(size - 4096, 48, 16))),
        lie("committed sequence differs after a clean close", flip(header + 128)),
        lie("persisted sequence differs after a clean close", flip(header + 256 + 3)),
        lie("first segment's CRC", flip(table + 24)),
        lie("first segment's slots", lambda made: made.put(table + 12, "I", 7).crc_over(table, table + 24)),
        lie("link without its tag", lambda made: made.put(table + 32, "Q", second_segment)),
        lie("link to itself", lambda made: made.put(table + 32, "Q", table | 0x2b)),
        lie("link beyond the end", lambda made: made.put(table + 32, "Q", size | 0x2b)),
        lie("second segment links to itself", lambda made: made.put(second_segment + 32, "Q", link)),
        lie("second segment's index", second(8, "I", 2)),
        lie("too many slots", second(12, "I", 66)),
        lie("unknown state", flip(slot0, 2)),
        lie("generation", flip(slot0 + 2)),
        lie("name", flip(slot0 + 64)),
        lie("name of 64 bytes", slot(64, "64s", b"x" * 64)),
        lie("slot flag that must be known", slot(52, "I", 1 << 31)),
        lie("log of a later generation", slot(40, "Q", 1 << 30)),
        lie("place in another log", slot(48, "I", 3)),
        lie("extent in the table", slot(8, "Q", 4096)),
        lie("extent beyond the end", slot(16, "Q", size)),
        lie("extent of 2^64 - 64 bytes", slot(16, "Q", 2**64 - 64)),
        lie("extent without entries", slot(16, "Q", 64)),
        lie("extent of another slot", slot(8, "Q", edits(image).get(slot1 + 8, "Q"))),
        lie("extent header", flip(extent0 + 16)),
        lie("extent header's flag", lambda made: made.put(extent0 + 56, "I", 1).crc_over(extent0, extent0 + 60)),
        lie("commit offset differs after a clean close", lambda made: made.put(slot0 + 128, "Q", entry0 + head0)),
        lie("commit sequence differs after a clean close", flip(slot0 + 136)),
        lie("both offsets before the first entry",
            lambda made: made.put(slot0 + 128, "Q", extent0).put(slot0 + 256, "Q", extent0)),
        lie("both offsets behind the extent",
            lambda made: made.put(slot0 + 128, "Q", size).put(slot0 + 256, "Q", size)),
        lie("both offsets inside the head",
            lambda made: made.put(slot0 + 128, "Q", entry0).put(slot0 + 256, "Q", entry0)),
        lie("head", flip(entry0 + 20)),
        lie("both offsets odd",
            lambda made: made.put(slot0 + 128, "Q", entry0 + head0 + 4).put(slot0 + 256, "Q", entry0 + head0 + 4)),
        lie("persisted offset ahead", lambda made: made.put(slot0 + 256, "Q", made.get(slot0 + 128, "Q") + 8),
            of="killed"),
    ]
    entries = [json.loads(line) for line in expected_lines("rich_64")]
    for field, offset, mask in (("length", 0, 1), ("length beyond the end", 3, 0x80), ("CRC", 5, 1),
                                ("sequence", 8, 1), ("epoch", 15, 1), ("system", 15, 0x10), ("more", 15, 0x20),
                                ("reserved", 15, 0x40), ("payload", 16, 1)):
        for at in (next(i for i, e in enumerate(entries) if e["region"] == "alpha" and len(e["payload"]) > 4),
                   max(i for i, e in enumerate(entries) if e["region"] == "alpha")):
            # What is shown before: up to the entry before it in its region, behind which the reader finds it damaged.
            earlier = [i for i in range(at) if entries[i]["generation"] == entries[at]["generation"]]
            variants.append(lie(f"entry {at}: {field}", flip(entries[at]["offset"] + offset, mask),
                                shown=earlier[-1] + 1 if earlier else 0))
    return variants


def make(maker, library):
    os.makedirs(FOLDER, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([maker, folder], check=True)
        for name in STREAMS:
            path = os.path.join(folder, name + ".stream")
            with open(path, "rb") as file, open(os.path.join(FOLDER, name + ".stream.gz"), "wb") as packed:
                packed.write(gzip.compress(file.read(), 9, mtime=0))
            code, lines, error = run_program([library, path])
            if code != 0:
                raise SystemExit(error)
            with open(os.path.join(FOLDER, name + ".jsonl"), "w", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in lines))
    with open(os.path.join(FOLDER, "damage.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(variant) for variant in damaged_variants()) + "\n]\n")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "check":
        sys.exit(check(sys.argv[2]))
    if len(sys.argv) == 4 and sys.argv[1] == "make":
        sys.exit(make(*sys.argv[2:]))
    print(__doc__, file=sys.stderr)
    sys.exit(1)
