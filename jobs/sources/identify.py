"""Who and which: event ids by content, repeats found by digest, pseudonyms for every id of a person, visit or order."""

import hashlib

import numpy as np
import pyarrow as pa

from schemas.identity import pseudonym

DIGEST_BYTES = 16


def digests(rows: list[bytes], source: str = "") -> np.ndarray:
    """(n, 2) uint64: blake2b-128 of each row after the source's name."""
    start = hashlib.blake2b(source.encode() + b"\0" if source else b"", digest_size=DIGEST_BYTES)
    out = bytearray()
    for row in rows:
        digest = start.copy()
        digest.update(row)
        out += digest.digest()
    return np.frombuffer(bytes(out), ">u8").reshape(-1, 2).astype(np.uint64)


def hex_ids(values: np.ndarray) -> pa.Array:
    """32 hex digits of each (n, 2) digest."""
    data = values.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(0, len(values) * 32 + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(data))


class Seen:
    """Counts digests over chunks in 24 bytes a distinct digest: how often each came before."""

    def __init__(self) -> None:
        self._stores: list[tuple[np.ndarray, np.ndarray, int]] = []

    def earlier(self, values: np.ndarray) -> np.ndarray:
        """For each digest, the number of equal ones before it, in this chunk and those before; then remembers them."""
        if not len(values):
            return np.zeros(0, np.int64)
        order = np.lexsort((values[:, 1], values[:, 0]))
        ranked = values[order]
        new = np.append(True, (ranked[1:] != ranked[:-1]).any(axis=1))
        starts = np.flatnonzero(new)
        group = np.cumsum(new) - 1
        counts = np.diff(np.append(starts, len(values)))
        distinct = ranked[starts]
        before = sum((lookup(store, distinct) for store in self._stores), np.zeros(len(distinct), np.int64))
        out = np.empty(len(values), np.int64)
        out[order] = np.arange(len(values)) - starts[group] + before[group]
        self._stores.append((distinct, counts, longest_run(distinct[:, 0])))
        return out


def lookup(store: tuple[np.ndarray, np.ndarray, int], wanted: np.ndarray) -> np.ndarray:
    """Counts of the wanted digests in one store sorted by (high, low)."""
    distinct, counts, run = store
    at = np.searchsorted(distinct[:, 0], wanted[:, 0])
    found = np.zeros(len(wanted), np.int64)
    for step in range(run):  # more than once only where the high halves of different digests collide
        here = np.minimum(at + step, len(distinct) - 1)
        found += np.where((distinct[here] == wanted).all(axis=1), counts[here], 0) * (at + step < len(distinct))
    return found


def longest_run(ranked: np.ndarray) -> int:
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    return int(np.diff(np.append(starts, len(ranked))).max())


def numbered(row_digests: np.ndarray, seen: Seen) -> np.ndarray:
    """What identifies rows by content: the row's digest, and for its k-th repeat in the file a digest of that and k."""
    ordinals = seen.earlier(row_digests)
    values = row_digests.copy()
    for at in np.flatnonzero(ordinals):
        data = row_digests[at].astype(">u8").tobytes() + int(ordinals[at]).to_bytes(8, "big")
        values[at] = digests([data])[0]
    return values


def pseudonyms(raw: pa.Array, secret: bytes, domain: str) -> pa.Array:
    """The pseudonym of each id, computed once for each distinct one; null stays null."""
    encoded = raw.dictionary_encode()
    made = [pseudonym(secret, value, domain) for value in encoded.dictionary.to_pylist()]
    return pa.array(made, pa.string()).take(encoded.indices)
