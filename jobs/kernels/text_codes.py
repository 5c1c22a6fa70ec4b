"""Dense codes for texts that come in parts: exact, each looked up in one table that lasts.

What Arrow has for this makes its table anew for every part: over hundreds of files that costs more than reading them.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.compiled import kernel
from jobs.kernels.surroundings import coded

FREE = -1
FIRST_SLOTS = 1024


class TextCodes:
    """Codes by first appearance, from 0; equal texts have equal codes. 32-bit: two billion texts at most."""

    def __init__(self):
        self.size = 0
        self._ends = np.zeros(1, np.int64)  # where each text ends in the bytes; the first is where the first begins
        self._bytes = np.empty(0, np.uint8)
        self._slots = np.full(FIRST_SLOTS, FREE, np.int32)

    def of(self, column: pa.ChunkedArray) -> np.ndarray:
        """The code of each row of a column of texts, dictionary-encoded or not; -1 for null."""
        encoded = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        whole = encoded.combine_chunks()
        codes = np.append(self.enter(whole.dictionary), np.int32(FREE))
        return codes[whole.indices.fill_null(len(codes) - 1).to_numpy()]

    def enter(self, texts: pa.StringArray) -> np.ndarray:
        """The code of each text, none of which is null."""
        _, offsets, data = texts.buffers()
        begin = texts.offset
        offsets = (
            np.frombuffer(offsets, np.int32)[begin : begin + len(texts) + 1] if len(texts) else np.zeros(1, np.int32)
        )
        data = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
        self._make_room(len(texts), int(offsets[-1] - offsets[0]))
        codes = np.empty(len(texts), np.int32)
        self.size = enter(offsets, data, self._slots, self._ends, self._bytes, self.size, codes)
        return codes

    def texts(self) -> pa.StringArray:
        """By code. They may take 2 GiB at most."""
        ends = self._ends[: self.size + 1].astype(np.int32)
        return pa.StringArray.from_buffers(self.size, pa.py_buffer(ends), pa.py_buffer(self._bytes[: ends[-1]]))

    def _make_room(self, n_texts: int, n_bytes: int) -> None:
        self._ends = grown(self._ends, self.size + 1, n_texts)
        self._bytes = grown(self._bytes, int(self._ends[self.size]), n_bytes)
        if 2 * (self.size + n_texts) > len(self._slots):
            self._slots = np.full(1 << (2 * (self.size + n_texts)).bit_length(), FREE, np.int32)
            settle(self._slots, self._ends, self._bytes, self.size)


def indexed(item_ids: pa.ChunkedArray, dictionary: pa.Table) -> np.ndarray:
    """The item_idx of each; -1 for none."""
    texts, code = coded(item_ids)
    place = pc.index_in(pa.array(texts, pa.string()), dictionary["item_id"].combine_chunks())
    item_idx = np.append(dictionary["item_idx"].to_numpy(), -1).astype(np.int32)
    return np.append(item_idx[pc.fill_null(place, -1).to_numpy()], np.int32(-1))[code]


def grown(values: np.ndarray, used: int, more: int) -> np.ndarray:
    """With room for so many more, twice as much as before where there was too little."""
    if used + more <= len(values):
        return values
    larger = np.empty(max(used + more, 2 * len(values)), values.dtype)
    larger[:used] = values[:used]
    return larger


@kernel
def enter(offsets, data, slots, ends, kept, size, codes):
    """Look each text up, and keep those that are new; how many are kept after it."""
    for at in range(len(offsets) - 1):
        begin, end = offsets[at], offsets[at + 1]
        slot = digest(data, begin, end) & (len(slots) - 1)
        while slots[slot] >= 0 and not same(data, begin, end, kept, ends[slots[slot]], ends[slots[slot] + 1]):
            slot = (slot + 1) & (len(slots) - 1)
        if slots[slot] < 0:
            slots[slot] = size
            ends[size + 1] = ends[size] + end - begin
            kept[ends[size] : ends[size + 1]] = data[begin:end]
            size += 1
        codes[at] = slots[slot]
    return size


@kernel
def settle(slots, ends, kept, size):
    """Give each kept text a place among empty slots."""
    for code in range(size):
        slot = digest(kept, ends[code], ends[code + 1]) & (len(slots) - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = code


@kernel
def digest(data, begin, end):
    """FNV-1a, its high bits folded in; where a text is kept is all it decides."""
    mixed = np.uint64(0xCBF29CE484222325)
    for at in range(begin, end):
        mixed = (mixed ^ np.uint64(data[at])) * np.uint64(0x100000001B3)
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(0x7FFFFFFF))


@kernel
def same(data, begin, end, kept, kept_begin, kept_end):
    if end - begin != kept_end - kept_begin:
        return False
    at = 0
    while at < end - begin and data[begin + at] == kept[kept_begin + at]:
        at += 1
    return at == end - begin
