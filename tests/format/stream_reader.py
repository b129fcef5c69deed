#!/usr/bin/env python3
"""Reads a stream file by itself: an independent reader, written from docs/format.md alone.

usage: stream_reader.py [--order region|merged] FILE

Prints every committed entry as a line of JSON: region (name), slot, generation, sequence, offset, payload (base64). In
region order (regions in order of allocation) or, the default, in merged order (by sequence). Exit code: 0, 1 usage,
2 not a stream, 3 damaged, truncated or of a format that is not known (what came before the damage is printed), 4 I/O.
"""

import base64
import json
import struct
import sys

MAGIC_STREAM, MAGIC_SEGMENT, MAGIC_EXTENT = b"PEMSTRM\n", b"PEMSSEG\n", b"PEMSEXT\n"
HEADER, FIRST_SEGMENT = 4096, 4736
COMMIT_LINE, PERSIST_LINE, FEATURE_LINE = 128, 256, 512  # in the header
FREE, LIVE, CLEARING = 0x00, 0x35, 0xCA
LINK_TAG, LINK_MASK = 0x2B, 0x3F
SLOT_BYTES, SEGMENT_HEADER_BYTES, EXTENT_HEADER_BYTES = 384, 128, 64
EPOCH_MAX = (1 << 24) - 1
SEQUENCE_MAX = (1 << 52) - 1
SYSTEM, MORE, RESERVED = 1 << 60, 1 << 61, 3 << 62
FILLER, HEAD, TIME, MARK, LOST = range(5)  # types of system entries
HEADLESS, REQUIRED_FLAGS = 2, 0xFFFF0000
HEAD_TEXT_MAX = 16384


class not_a_stream(Exception):
    pass


class damaged(Exception):
    pass


def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = crc_table()


def crc32c(*pieces, before=0):
    """`before`: the CRC of what the pieces follow."""
    register = before ^ 0xFFFFFFFF
    for piece in pieces:
        for byte in piece:
            register = register >> 8 ^ CRC_TABLE[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


def u64(value):
    return struct.pack("<Q", value)


class stream:
    def __init__(self, image):
        self.image = image
        self.check_superblock()
        self.check_header()
        self.slots = []  # offsets
        self.taken = []  # (begin, end, what) of extents and further segments
        self.follow_segments()
        self.regions = []
        self.refused = []  # regions of a later version
        for number, offset in enumerate(self.slots):
            self.check_slot(number, offset)
        self.regions.sort(key=lambda region: region["generation"])
        self.check_overlaps()

    def at(self, layout, offset):
        return struct.unpack_from("<" + layout, self.image, offset)

    def check_superblock(self):
        image = self.image
        if len(image) == 0:
            raise not_a_stream("the file is empty")
        if image[:8] != MAGIC_STREAM:
            raise not_a_stream("no magic at offset 0")
        if len(image) < 512:
            raise damaged(f"truncated: only {len(image)} bytes are left")
        version, struct_bytes = self.at("II", 8)
        crc_fits = crc32c(image[:252]) == self.at("I", 252)[0]
        if version != 1 and (crc_fits or struct_bytes != 256):
            raise damaged(f"unsupported format version {version}")
        if not crc_fits:
            raise damaged("superblock: wrong CRC")
        self.block, self.initial_bytes, self.bytes_max = self.at("QQQ", 16)
        self.first_slots, slot_bytes = self.at("II", 40)
        self.uuid = image[48:64]
        _, header, table, self.data = self.at("QQQQ", 64)
        block_fits = 64 <= self.block <= 1 << 30 and self.block & (self.block - 1) == 0
        if not (struct_bytes == 256 and slot_bytes == SLOT_BYTES and block_fits
                and self.initial_bytes <= self.bytes_max <= 1 << 46
                and header == HEADER and table == FIRST_SEGMENT and 1 <= self.first_slots <= 1 << 20
                and self.data >= FIRST_SEGMENT + SEGMENT_HEADER_BYTES + self.first_slots * SLOT_BYTES
                and self.data % self.block == 0 and self.data <= self.initial_bytes):
            raise damaged("superblock: impossible values")
        if len(image) < self.initial_bytes:
            raise damaged(f"truncated: {len(image)} bytes are left of {self.initial_bytes}")

    def check_header(self):
        for name, word in zip(("compatible", "read-compatible", "incompatible"),
                              self.at("QQQ", HEADER + FEATURE_LINE)):
            flags = word & 0xFFFFFFFF
            if word != (flags and flags | crc32c(u64(flags)) << 32):
                raise damaged(f"the header's word of {name} features is damaged: {word:#x}")
            if name == "incompatible" and flags:
                raise damaged(f"unsupported: incompatible features {flags:#x}")
        epoch, clean_epoch = self.at("QQ", HEADER)
        for name, word in ("epoch", epoch), ("clean epoch", clean_epoch):
            if word != (word & 0xFFFFFFFF and word & 0xFFFFFFFF | crc32c(u64(word & 0xFFFFFFFF)) << 32) \
                    or word & 0xFFFFFFFF > EPOCH_MAX:
                raise damaged(f"the header's {name} is damaged: {word:#x}")
        if clean_epoch & 0xFFFFFFFF > epoch & 0xFFFFFFFF:
            raise damaged("the header's clean epoch is above its epoch")
        self.clean = epoch == clean_epoch
        self.epoch = epoch & 0xFFFFFFFF
        size_word, self.table_changes = self.at("QQ", HEADER + FEATURE_LINE + 24)
        self.bytes = size_word & (1 << 48) - 1
        if (size_word >> 48 != crc32c(u64(self.bytes)) & 0xFFFF or self.bytes % self.block
                or not self.initial_bytes <= self.bytes <= self.bytes_max):
            raise damaged(f"impossible size of the stream: {size_word:#x}")
        if self.bytes > len(self.image):
            raise damaged(f"truncated: {len(self.image)} bytes are left of {self.bytes}")
        self.committed, = self.at("Q", HEADER + COMMIT_LINE)
        persisted, = self.at("Q", HEADER + PERSIST_LINE)
        if self.committed > SEQUENCE_MAX or (self.clean and self.committed != persisted):
            raise damaged(f"impossible sequences in the header: committed {self.committed}, persisted {persisted}")

    def follow_segments(self):
        offset, index = FIRST_SEGMENT, 0
        while True:
            magic, own_index, slots, segment_bytes, crc, _, link = self.at("8sIIQIIQ", offset)
            if magic != MAGIC_SEGMENT or crc != crc32c(self.image[offset:offset + 24]):
                raise damaged(f"table segment {index} at {offset}: wrong magic or CRC")
            room = (self.data if index == 0 else self.bytes) - offset
            if (own_index != index or slots == 0 or segment_bytes > room
                    or SEGMENT_HEADER_BYTES + slots * SLOT_BYTES > segment_bytes
                    or len(self.slots) + slots > 1 << 20
                    or (slots != self.first_slots if index == 0 else segment_bytes % self.block != 0)):
                raise damaged(f"table segment {index} at {offset}: impossible values")
            self.slots += [offset + SEGMENT_HEADER_BYTES + i * SLOT_BYTES for i in range(slots)]
            if index > 0:
                self.taken.append((offset, offset + segment_bytes, f"table segment {index}"))
            if link == 0:
                return
            offset, index = link & ~LINK_MASK, index + 1
            if (link & LINK_MASK != LINK_TAG or offset < self.data or offset % self.block
                    or offset + SEGMENT_HEADER_BYTES > self.bytes):
                raise damaged(f"the link {link:#x} to table segment {index} leads nowhere")

    def check_slot(self, number, offset):
        (state, extent, extent_bytes, first, created, log, place, flags, place_crc, crc,
         name) = self.at("QQQQQQIIII64s", offset)
        generation, state = state >> 8, state & 0xFF
        if state == FREE:
            return
        if state not in (LIVE, CLEARING):
            raise damaged(f"slot {number}: unknown state {state:#x}")
        if place_crc != crc32c(struct.pack("<QQII", extent, extent_bytes, place, flags), name):
            raise damaged(f"slot {number}: wrong CRC of its place")
        if state == LIVE and crc != crc32c(struct.pack("<QQQQQ", generation, place_crc, first, created, log)):
            raise damaged(f"slot {number}: wrong CRC")
        if (extent < self.data or extent % self.block or extent_bytes % self.block or extent_bytes < 80
                or extent + extent_bytes > self.bytes or name[63] != 0):
            raise damaged(f"slot {number}: impossible extent: {extent_bytes} bytes at {extent}")
        self.taken.append((extent, extent + extent_bytes, f"the extent of slot {number}"))
        if state == CLEARING:
            return
        if not 1 <= log <= generation or (place == 0) != (log == generation):
            raise damaged(f"slot {number}: impossible place {place} in log {log}")
        magic, uuid, *told, extent_flags, extent_crc = self.at("8s16sQQQQII", extent)
        if (magic != MAGIC_EXTENT or uuid != self.uuid or told != [generation, extent_bytes, first, extent]
                or extent_flags != flags or extent_crc != crc32c(self.image[extent:extent + 60])):
            raise damaged(f"slot {number}: damaged extent header at {extent}")
        if flags & REQUIRED_FLAGS:
            self.refused.append(f"slot {number}: unsupported flags {flags:#x}")
            return
        persisted_word, persisted_sequence = self.at("QQ", offset + 256)
        persisted_mark, = self.at("Q", offset + 256 + 24)
        persisted, persisted_epoch = persisted_word & (1 << 56) - 1, persisted_word >> 56
        committed, committed_sequence = self.at("QQ", offset + 128)
        mark, successor, index_word = self.at("QQQ", offset + 128 + 24)
        index = index_word & (1 << 52) - 1
        if index_word == 0 or index_word >> 52 != crc32c(u64(index)) & 0xFFF:
            index = None
        begin = extent + EXTENT_HEADER_BYTES
        if not begin <= persisted <= committed <= extent + extent_bytes or persisted % 8 or committed % 8:
            raise damaged(f"slot {number}: impossible offsets: committed {committed}, persisted {persisted}")
        if self.clean and ((persisted, persisted_sequence, persisted_mark) != (committed, committed_sequence, mark)
                           or persisted_epoch != self.epoch & 0xFF):
            raise damaged(f"slot {number}: closed cleanly, yet commit and persist line differ")
        self.regions.append({"name": name.split(b"\0")[0].decode(errors="replace"), "slot": number, "first": first,
                             "generation": generation, "begin": begin, "end": committed, "index": index, "log": log,
                             "place": place, "raw name": name.split(b"\0")[0], "headless": bool(flags & HEADLESS),
                             "successor": (successor & (1 << 20) - 1, successor >> 20) if successor else None})

    def check_overlaps(self):
        self.taken.sort()
        for before, behind in zip(self.taken, self.taken[1:]):
            if behind[0] < before[1]:
                raise damaged(f"{behind[2]} lies over {before[2]}")

    def check_head(self, region, offset, payload):
        """The first entry says what the slot does, and more."""
        def fail(why):
            raise damaged(f"slot {region['slot']}: head at {offset}: {why}")
        if len(payload) < 32:
            fail("too short")
        log, predecessor, place, name_bytes, count, attributes_bytes, text_crc = struct.unpack_from("<QQIHHII", payload)
        text = payload[32:]
        if len(text) != name_bytes + attributes_bytes or len(text) > HEAD_TEXT_MAX or text_crc != crc32c(text):
            fail("wrong sizes or CRC")
        if (log, place, text[:name_bytes]) != (region["log"], region["place"], region["raw name"]):
            fail("not that of the slot")
        if (place == 0) != (predecessor == 0):
            fail(f"place {place} behind generation {predecessor}")
        region["attributes"], at = [], name_bytes
        for _ in range(count):
            if at + 8 > len(text):
                fail("an attribute is cut off")
            kind, key_bytes, value_bytes = struct.unpack_from("<HHI", text, at)
            at += 8
            region["attributes"].append((kind, text[at:at + key_bytes], text[at + key_bytes:at + key_bytes + value_bytes]))
            at += key_bytes + value_bytes
        if at != len(text):
            fail("the attributes do not end where they should")

    def check_mark(self, region, offset, payload, marks, sequence, index):
        """A mark agrees with the one before it and with the entries between."""
        def fail(why):
            raise damaged(f"slot {region['slot']}: mark at {offset}: {why}")
        if len(payload) != 56:
            fail("wrong size")
        time, _clock, said_index, next_sequence, epoch, previous, jump = struct.unpack("<7Q", payload)
        if epoch > self.epoch or next_sequence <= sequence:
            fail(f"impossible epoch {epoch} or sequence {next_sequence} after {sequence}")
        if index is not None and said_index != index:
            fail(f"index {said_index}, not {index}")
        if marks and time < marks[-1][1]:
            fail("its time is before that of the mark before")
        marks.append((offset, time))
        return said_index, next_sequence

    def entries(self, region):
        """(sequence, offset, payload, index) of a region, until its end or its damage."""
        offset, previous, index, marks, least = region["begin"], region["first"] - 1, region["index"], [], 0
        seed = self.uuid + u64(region["generation"])
        while offset < region["end"]:
            def fail(why):
                raise damaged(f"slot {region['slot']}: entry at {offset}: {why}")
            if region["end"] - offset < 16:
                fail("no room for a header")
            payload_bytes, crc, meta = self.at("IIQ", offset)
            end = offset + 16 + (payload_bytes + 7) // 8 * 8
            sequence, system = meta & SEQUENCE_MAX, bool(meta & SYSTEM)
            kind, argument = sequence >> 44, sequence & (1 << 44) - 1
            if end > region["end"]:
                fail("reaches beyond the commit offset")
            if system and meta & MORE and not meta & RESERVED:
                fail("a system entry with more to come")
            if not system and sequence <= previous and not meta & RESERVED:
                fail(f"sequence {sequence} after {previous}")
            payload = self.image[offset + 16:offset + 16 + payload_bytes]
            # Of the writer's epoch the header holds eight bits and the CRC the others: one of these must fit.
            covered = crc32c(seed, b"" if system and kind in (FILLER, LOST) else payload)
            newest = self.epoch - (self.epoch - (meta >> 52)) % 256
            if not any(crc == crc32c(u64(payload_bytes | epoch >> 8 << 32), u64(meta), u64(offset), before=covered)
                       for epoch in range(newest, -1, -256)):
                fail("reserved bits are set" if meta & RESERVED else "wrong CRC")
            if meta & RESERVED:
                fail("unsupported: of a later version of the format")
            if offset == region["begin"] and not region["headless"]:
                if not system or kind != HEAD:
                    fail("the region does not begin with a head")
                self.check_head(region, offset, payload)
            if system and kind == MARK:
                index, least = self.check_mark(region, offset, payload, marks, previous, index)
            elif system and kind == LOST and index is not None:
                index += argument
            elif not system:
                if sequence < least:
                    fail(f"sequence {sequence}, which the mark before says is at least {least}")
                previous = sequence
                yield sequence, offset, payload, index
                index = None if index is None else index + 1
            offset = end

    def region_order(self):
        for region in self.regions:
            for entry in self.entries(region):
                yield region, entry

    def merged_order(self):
        """Each region holds its next entry ready, so damage ends everything when the entry before it was shown."""
        heads = []
        for region in self.regions:
            walk = self.entries(region)
            head = next(walk, None)
            if head:
                heads.append((head, region, walk))
        while heads:
            head, region, walk = min(heads, key=lambda source: source[0][0])
            if head[0] > self.committed:
                return
            yield region, head
            heads = [source for source in heads if source[1] is not region]
            following = next(walk, None)
            if following:
                heads.append((following, region, walk))


def main(arguments):
    order = "merged"
    if len(arguments) == 3 and arguments[0] == "--order" and arguments[1] in ("region", "merged"):
        order, arguments = arguments[1], arguments[2:]
    if len(arguments) != 1 or arguments[0].startswith("--"):
        print(__doc__, file=sys.stderr)
        return 1
    path = arguments[0]
    try:
        with open(path, "rb") as file:
            read = stream(file.read())
        for region, (sequence, offset, payload, _) in read.region_order() if order == "region" else read.merged_order():
            print(json.dumps({"region": region["name"], "slot": region["slot"], "generation": region["generation"],
                              "sequence": sequence, "offset": offset,
                              "payload": base64.b64encode(payload).decode()}))
        if read.refused:
            raise damaged("; ".join(read.refused))
    except not_a_stream as why:
        print(f"{path}: not a stream: {why}", file=sys.stderr)
        return 2
    except damaged as why:
        print(f"{path}: damaged: {why}", file=sys.stderr)
        return 3
    except OSError as why:
        print(f"{path}: {why}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
