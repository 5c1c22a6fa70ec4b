"""Which slot of a Redis Cluster a key belongs to, for many keys at once (CRC-16 of what stands in its braces)."""

import numpy as np

from jobs.kernels.compiled import kernel

N_SLOTS = 16_384


def table_crc16() -> np.ndarray:
    """Of the polynomial 0x1021, one remainder a byte: ``(256,)`` uint32."""
    table = np.arange(256, dtype=np.uint32) << 8
    for _ in range(8):
        table = np.where(table & 0x8000, table << 1 ^ 0x1021, table << 1).astype(np.uint32)
    return table & np.uint32(0xFFFF)


CRC16 = table_crc16()


def slots_of(names: np.ndarray, begins: np.ndarray, before: bytes) -> np.ndarray:
    """The slot of each key whose braces hold ``before`` and a name: ``(n,)`` int64.

    ``names`` is one text, uint8, and ``begins`` where each name begins, ``(n + 1,)``.
    """
    return slots(names, begins, np.frombuffer(before, np.uint8), CRC16)


@kernel
def slots(names, begins, before, table):
    found = np.empty(len(begins) - 1, np.int64)
    for row in range(len(found)):
        crc = np.int64(0)
        for byte in before:
            crc = (crc << 8 & 0xFFFF) ^ np.int64(table[crc >> 8 ^ byte])
        for at in range(begins[row], begins[row + 1]):
            crc = (crc << 8 & 0xFFFF) ^ np.int64(table[crc >> 8 ^ names[at]])
        found[row] = crc % N_SLOTS
    return found
