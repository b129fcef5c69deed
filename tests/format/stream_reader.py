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
HEADER, FIRST_SEGMENT = 512, 1024
FREE, LIVE, CLEARING = 0x00, 0x35, 0xCA
LINK_TAG, LINK_MASK = 0x2B, 0x3F
SLOT_BYTES, SEGMENT_HEADER_BYTES, EXTENT_HEADER_BYTES = 384, 128, 64
EPOCH_MAX = (1 << 24) - 1
SEQUENCE_MAX = (1 << 52) - 1
FILLER, MORE, RESERVED = 1 << 60, 1 << 61, 3 << 62


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
        _, _, incompatible, self.block, self.initial_bytes = self.at("QQQQQ", 16)
        self.first_slots, slot_bytes = self.at("II", 56)
        self.uuid = image[64:80]
        _, header, table, self.data = self.at("QQQQ", 80)
        if incompatible:
            raise damaged(f"unsupported: incompatible flags {incompatible:#x}")
        block_fits = 64 <= self.block <= 1 << 30 and self.block & (self.block - 1) == 0
        if not (struct_bytes == 256 and slot_bytes == SLOT_BYTES and block_fits and self.initial_bytes <= 1 << 56
                and header == HEADER and table == FIRST_SEGMENT and 1 <= self.first_slots <= 1 << 20
                and self.data >= FIRST_SEGMENT + SEGMENT_HEADER_BYTES + self.first_slots * SLOT_BYTES
                and self.data % self.block == 0 and self.data <= self.initial_bytes):
            raise damaged("superblock: impossible values")
        if len(image) < self.initial_bytes:
            raise damaged(f"truncated: {len(image)} bytes are left of {self.initial_bytes}")

    def check_header(self):
        epoch, clean_epoch = self.at("QQ", HEADER)
        for name, word in ("epoch", epoch), ("clean epoch", clean_epoch):
            if word != (word & 0xFFFFFFFF and word & 0xFFFFFFFF | crc32c(u64(word & 0xFFFFFFFF)) << 32) \
                    or word & 0xFFFFFFFF > EPOCH_MAX:
                raise damaged(f"the header's {name} is damaged: {word:#x}")
        if clean_epoch & 0xFFFFFFFF > epoch & 0xFFFFFFFF:
            raise damaged("the header's clean epoch is above its epoch")
        self.clean = epoch == clean_epoch
        self.epoch = epoch & 0xFFFFFFFF
        self.bytes, = self.at("Q", HEADER + 48)
        if not self.initial_bytes <= self.bytes <= 1 << 55 or self.bytes % self.block or self.bytes % 4096:
            raise damaged(f"impossible size of the stream: {self.bytes}")
        if self.bytes > len(self.image):
            raise damaged(f"truncated: {len(self.image)} bytes are left of {self.bytes}")
        self.committed, = self.at("Q", HEADER + 128)
        persisted, = self.at("Q", HEADER + 256)
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
        (state, extent, extent_bytes, first, created, chain, place, flags, place_crc, crc,
         name) = self.at("QQQQQQIIII64s", offset)
        generation, state = state >> 8, state & 0xFF
        if state == FREE:
            return
        if state not in (LIVE, CLEARING):
            raise damaged(f"slot {number}: unknown state {state:#x}")
        if place_crc != crc32c(struct.pack("<QQQII", extent, extent_bytes, chain, place, flags), name):
            raise damaged(f"slot {number}: wrong CRC of its place")
        if state == LIVE and crc != crc32c(struct.pack("<QQQQ", generation, place_crc, first, created)):
            raise damaged(f"slot {number}: wrong CRC")
        if flags:
            raise damaged(f"slot {number}: unsupported flags {flags:#x}")
        if (extent < self.data or extent % self.block or extent_bytes % self.block or extent_bytes < 80
                or extent + extent_bytes > self.bytes or name[63] != 0):
            raise damaged(f"slot {number}: impossible extent: {extent_bytes} bytes at {extent}")
        self.taken.append((extent, extent + extent_bytes, f"the extent of slot {number}"))
        if state == CLEARING:
            return
        magic, uuid, *told, extent_flags, extent_crc = self.at("8s16sQQQQII", extent)
        if (magic != MAGIC_EXTENT or uuid != self.uuid or told != [generation, extent_bytes, first, extent]
                or extent_flags or extent_crc != crc32c(self.image[extent:extent + 60])):
            raise damaged(f"slot {number}: damaged extent header at {extent}")
        persisted_word, persisted_sequence = self.at("QQ", offset + 256)
        persisted, persisted_epoch = persisted_word & (1 << 56) - 1, persisted_word >> 56
        committed, committed_sequence = self.at("QQ", offset + 128)
        begin = extent + EXTENT_HEADER_BYTES
        if not begin <= persisted <= committed <= extent + extent_bytes or persisted % 8 or committed % 8:
            raise damaged(f"slot {number}: impossible offsets: committed {committed}, persisted {persisted}")
        if self.clean and ((persisted, persisted_sequence) != (committed, committed_sequence)
                           or persisted_epoch != self.epoch & 0xFF):
            raise damaged(f"slot {number}: closed cleanly, yet commit and persist line differ")
        self.regions.append({"name": name.split(b"\0")[0].decode(errors="replace"), "slot": number, "first": first,
                             "generation": generation, "begin": begin, "end": committed})

    def check_overlaps(self):
        self.taken.sort()
        for before, behind in zip(self.taken, self.taken[1:]):
            if behind[0] < before[1]:
                raise damaged(f"{behind[2]} lies over {before[2]}")

    def entries(self, region):
        """(sequence, offset, payload) of a region, until its end or its damage."""
        offset, previous = region["begin"], region["first"] - 1
        seed = self.uuid + u64(region["generation"])
        while offset < region["end"]:
            def fail(why):
                raise damaged(f"slot {region['slot']}: entry at {offset}: {why}")
            if region["end"] - offset < 16:
                fail("no room for a header")
            payload_bytes, crc, meta = self.at("IIQ", offset)
            end = offset + 16 + (payload_bytes + 7) // 8 * 8
            sequence, filler = meta & SEQUENCE_MAX, bool(meta & FILLER)
            if end > region["end"]:
                fail("reaches beyond the commit offset")
            if meta & RESERVED:
                fail("reserved bits are set")
            if filler and (sequence or meta & MORE):
                fail("a filler with a sequence or more to come")
            if not filler and sequence <= previous:
                fail(f"sequence {sequence} after {previous}")
            payload = self.image[offset + 16:offset + 16 + payload_bytes]
            # Of the writer's epoch the header holds eight bits and the CRC the others: one of these must fit.
            covered = crc32c(seed, b"" if filler else payload)
            newest = self.epoch - (self.epoch - (meta >> 52)) % 256
            if not any(crc == crc32c(u64(payload_bytes | epoch >> 8 << 32), u64(meta), u64(offset), before=covered)
                       for epoch in range(newest, -1, -256)):
                fail("wrong CRC")
            if not filler:
                previous = sequence
                yield sequence, offset, payload
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
        for region, (sequence, offset, payload) in read.region_order() if order == "region" else read.merged_order():
            print(json.dumps({"region": region["name"], "slot": region["slot"], "generation": region["generation"],
                              "sequence": sequence, "offset": offset,
                              "payload": base64.b64encode(payload).decode()}))
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
