"""A user's packed value: exact round trips, refusals, its layout; and the compiled packing, byte for byte the same."""

import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.crc import key_slot
from slate_rows import slate_entries, slate_row, slates
from test_codec import INDEX, lists

from jobs.kernels.cluster_slots import slots_of
from jobs.rim.carrier import sets_of
from jobs.rim.key_lists import pack_names, pack_pseudonyms, unpack_names
from jobs.rim.parcels import Life, UserRows, parcel_of_pairs
from schemas.bitplanes import pack_planes, pack_rising, size, unpack_planes, unpack_rising
from schemas.codec import NONE, pack_list
from schemas.keys import Keys
from schemas.user_codec import pack_user, unpack_user

KEYS, TAG = Keys("test"), "TAGTAGTA"
LIFE = Life.of_days(30)
SEEN = st.lists(INDEX, max_size=60)


@settings(deadline=None, max_examples=50)
@given(lists(), SEEN)
def test_a_user_comes_back_exactly_but_for_quantised_scores(columns, seen):
    items, _, sources, because_of = columns
    value = pack_user(*columns, seen)
    found = unpack_user(value)
    assert (found.slate.items, found.slate.sources, found.slate.because_of) == (items, sources, because_of)
    assert found.seen == sorted(set(seen))
    assert found.slate.scores == unpack_user(pack_list(*columns)).slate.scores  # the same steps as in version 1
    assert pack_user(*found.slate, found.seen) == value


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=40), st.data())
def test_planes_hold_any_width(numbers, data):
    bits = data.draw(st.integers(max((number.bit_length() for number in numbers), default=0), 32))
    value = pack_planes(numbers, bits)
    assert (len(value), unpack_planes(b"x" + value, 1, len(numbers), bits)) == (size(len(numbers), bits), numbers)


def test_the_layout_is_the_documented_one():
    # 17 bits: two byte planes and single bits; 2 palette entries: places of 1 bit; sources 0 and 1: 1 bit
    value = pack_user([0x1_0203, 4], [2.0, 1.0], ["viewed_together", "als"], [5, NONE], [1, 9])
    slate = struct.pack("<BBBBff", 2, 16 | 1 << 5, 2, 2, 1.0, 2.0) + b"\x03\x04" + b"\x02\x00" + b"\x01" + b"\xff\x00"
    palette = b"\x01" + b"\x02" + b"\x00\x06" + b"\x00\x00" + b"\x00"
    # 1 and 9: low 2 bits each (10 // 2 = 5 is below 8), 01 and 01; uppers 0 and 2: ones at bits 0 and 3
    assert value == slate + palette + struct.pack("<HB", 2, 2) + b"\x05" + b"\x09"


def test_a_hundred_items_take_439_bytes_and_thirty_seen_55_more():
    items = [99_999 - k for k in range(100)]
    columns = items, [1 / (k + 1) for k in range(100)], ["ease"] * 100, [99_000 + k % 20 for k in range(100)]
    assert len(pack_user(*columns)) == 439
    assert len(pack_user(*columns, range(0, 99_990, 3_333))) == 439 + 55


@pytest.mark.parametrize("cut", [0, 5, 11, 12, 20, 60])
def test_a_cut_value_is_refused(cut):
    value = pack_user(list(range(30)), [1.0] * 30, ["als"] * 30, [7] * 30, [])
    with pytest.raises(ValueError, match="bytes"):
        unpack_user(value[:cut])


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\x02\x04\x02\x01" + tail))
def test_any_bytes_are_read_or_refused(value):
    try:
        unpack_user(value)
    except ValueError as error:
        assert "packed" in str(error) or "rising" in str(error)  # noqa: PT017 - reading is fine too


def test_rising_sets_refuse_what_does_not_fit():
    for spoilt in (b"\x02\x00\x00\x01", b"\x01\x00", b"\x00\x00\x00\x01", b"\x01\x00\x00\x01\x00"):
        with pytest.raises(ValueError, match="rising set"):
            unpack_rising(spoilt, 0)
    assert unpack_rising(pack_rising([]), 0) == []


# compiled


def rows_of(rows):
    return UserRows(slates(rows).to_batches()[0], KEYS, TAG)


def row_of(columns, seen, number):
    items, scores, sources, because_of = columns
    fields = {"items": items, "scores": scores, "sources": sources, "because_of": because_of, "seen": seen}
    return {"user_id": f"{number:032x}", "propensities": [1.0] * len(items)} | fields


def both_ways(rows):
    users = rows_of(rows)
    pairs = list(slate_entries(slates(rows).to_batches(), KEYS, TAG))
    return users.parcel(np.arange(len(users)), LIFE), parcel_of_pairs(pairs, LIFE), pairs


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(lists(), SEEN), min_size=1, max_size=4))
def test_compiled_packing_is_byte_for_byte_the_same(users):
    fast, slow, pairs = both_ways([row_of(*user, number) for number, user in enumerate(users)])
    assert bytes(fast.commands) == slow.commands
    assert (fast.n_keys, fast.n_bytes, fast.n_answer, fast.crc32) == (
        *(slow.n_keys, slow.n_bytes, slow.n_answer),
        slow.crc32,
    )
    assert unpack_names(fast.names, KEYS, TAG) == unpack_names(slow.names, KEYS, TAG) == [key for key, _ in pairs]


def test_many_seen_items_and_any_order_of_rows():
    rows = [slate_row(seed) | {"seen": list(range(5_000 * seed, 0, -7))} for seed in range(5)]
    users, (_, slow, pairs) = rows_of(rows), both_ways(rows)
    chosen = users.parcel(np.array([4, 1]), LIFE)
    commands = list(sets_of(bytes(chosen.commands)))
    wanted = list(sets_of(slow.commands))
    assert commands == [wanted[4], wanted[1]]
    assert [key.decode() for key, _, _ in commands] == [pairs[4][0], pairs[1][0]]
    assert chosen.crc32 == zlib.crc32(b"".join(b"$%d\r\n%b\r\n" % (len(v), v) for _, v, _ in commands))


def test_users_that_are_no_pseudonyms_are_listed_by_name():
    rows = [slate_row(1) | {"user_id": "aa"}, slate_row(2) | {"user_id": "é" * 16}]
    fast, slow, pairs = both_ways(rows)
    assert bytes(fast.commands) == slow.commands
    assert fast.names == pack_names([key for key, _ in pairs])
    assert pack_pseudonyms(b"AB" * 16) is None  # upper case would not come back


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"items": [-1]}, "item index -1"),
        ({"sources": ["magic"]}, "source 'magic'"),
        ({"scores": [float("nan")]}, "not finite"),
        ({"because_of": [-2]}, "-1; allowed"),
        ({"seen": [3, -4]}, "item index -4"),
        ({"items": [1, 2]}, "equal lengths"),
        ({"seen": range(65_536)}, "65536 ids"),
        (dict.fromkeys(("items", "because_of"), [1] * 256) | {"scores": [1.0] * 256, "sources": ["als"] * 256}, "256"),
    ],
)
def test_a_row_that_cannot_be_packed_is_refused_with_the_codecs_own_words(spoilt, message):
    good = {"items": [1], "scores": [1.0], "sources": ["als"], "because_of": [2], "seen": [5]}
    rows = [slate_row(1), slate_row(2) | good | spoilt]
    with pytest.raises(ValueError, match=message):
        rows_of(rows).parcel(np.arange(2), LIFE)


def test_a_null_in_a_list_is_refused():
    batch = slates([slate_row(1)]).to_batches()[0]
    nulls = batch.set_column(1, "items", pa.array([[1, None]], pa.list_(pa.int32())))
    with pytest.raises(ValueError, match="null"):
        UserRows(nulls, KEYS, TAG)


def test_slots_are_those_of_a_cluster():
    names = [f"{number * 7_919:032x}" for number in range(50)]
    text, begins = np.frombuffer("".join(names).encode(), np.uint8), np.arange(51) * 32
    assert slots_of(text, begins, b"u:").tolist() == [key_slot(KEYS.slate(name, TAG).encode()) for name in names]
