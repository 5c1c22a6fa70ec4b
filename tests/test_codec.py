"""The packed values: exact round trips, sizes, refusals."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import EMPTY, MAX_INDEX, NONE, Slate, pack_ids, pack_list, unpack_ids, unpack_list
from schemas.tables import SOURCES

INDEX = (
    st.integers(0, MAX_INDEX) | st.integers(0, 300) | st.sampled_from([254, 255, 256, 65_534, 65_535, 65_536, 2**24])
)
SCORE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def lists(draw):
    n = draw(st.integers(0, 255) | st.integers(0, 5))
    items = draw(st.lists(INDEX, min_size=n, max_size=n))
    scores = draw(st.lists(SCORE, min_size=n, max_size=n))
    sources = draw(st.lists(st.sampled_from(SOURCES), min_size=n, max_size=n))
    because_of = draw(st.lists(INDEX | st.just(NONE), min_size=n, max_size=n))
    return items, scores, sources, because_of


@settings(deadline=None, max_examples=150)
@given(lists())
def test_a_list_comes_back_exactly_but_for_quantised_scores(columns):
    items, scores, sources, because_of = columns
    value = pack_list(*columns)
    found = unpack_list(value)
    assert (found.items, found.sources, found.because_of) == (items, sources, because_of)
    if scores:
        step = (max(scores) - min(scores)) / 255
        assert all(abs(a - b) <= step / 2 * 1.0001 for a, b in zip(scores, found.scores, strict=True))
        assert (min(found.scores), max(found.scores)) == (min(scores), max(scores))
    assert pack_list(*found) == value  # packing again changes nothing


@settings(deadline=None, max_examples=60)
@given(lists(), st.data())
def test_a_cut_or_longer_value_is_refused(columns, data):
    value = pack_list(*columns)
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(ValueError, match="bytes"):
        unpack_list(value[:cut])
    with pytest.raises(ValueError, match="bytes"):
        unpack_list(value + b"\0")


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\x01\x01\x02\x01" + tail))
def test_any_bytes_are_read_or_refused(value):
    for unpack in (unpack_list, unpack_ids):
        try:
            unpack(value)
        except ValueError as error:
            assert "packed" in str(error)  # noqa: PT017 - accepting is fine too


@settings(deadline=None, max_examples=100)
@given(st.lists(INDEX, max_size=300))
def test_an_id_set_comes_back_rising_without_repeats(ids):
    assert unpack_ids(pack_ids(ids)) == sorted(set(ids))


def test_a_promotion_comes_back_and_older_sources_keep_their_position():
    assert SOURCES[:5] == ("als", "viewed_together", "bought_together", "trending", "promotion")
    found = unpack_list(pack_list([7, 8, 9], [1.0, 1.0, 0.5], ["promotion", "als", "promotion"], [NONE, 3, 3]))
    assert (found.sources, found.because_of) == (["promotion", "als", "promotion"], [NONE, 3, 3])


def test_the_layout_is_the_documented_one():
    value = pack_list([0x0102, 3], [2.0, 1.0], ["viewed_together", "als"], [5, NONE])
    header = struct.pack("<BBBBff", 1, 2, 2, 2, 1.0, 2.0)
    # items 0x0102 and 3 as low then high bytes; scores 255, 0; palette (als, none), (viewed_together, 5)
    assert value == header + b"\x02\x03\x01\x00" + b"\xff\x00" + b"\x01\x00" + b"\x00\x01" + b"\x00\x06\x00\x00"
    assert pack_ids([0x0102, 3, 3]) == b"\x01\x02\x02\x00" + b"\x03\x02\x00\x01"


def test_a_hundred_items_with_twenty_reasons_take_592_bytes():
    items = [2**24 - 1 - k for k in range(100)]
    value = pack_list(items, [1 / (k + 1) for k in range(100)], ["als"] * 100, [2**24 - 2 - k % 20 for k in range(100)])
    assert len(value) == 592


def test_an_empty_list_is_twelve_bytes():
    assert unpack_list(pack_list(*EMPTY)) == Slate([], [], [], [])
    assert len(pack_list(*EMPTY)) == 12


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1], [], ["als"], [2]), "equal lengths"),
        (([1] * 256, [0.0] * 256, ["als"] * 256, [2] * 256), "256 items"),
        (([-1], [0.0], ["als"], [2]), "item index -1"),
        (([2**31], [0.0], ["als"], [2]), "item index 2147483648"),
        (([1], [0.0], ["als"], [-2]), "-1; allowed"),
        (([1], [0.0], ["magic"], [2]), "source 'magic'"),
        (([1, 2], [float("nan"), 0.0], ["als"] * 2, [2, 2]), "not finite"),
        (([1], [float("inf")], ["als"], [2]), "not finite"),
        (([1], [1e300], ["als"], [2]), "beyond float32"),
    ],
)
def test_what_cannot_be_packed_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        pack_list(*columns)


@pytest.mark.parametrize(
    ("place", "byte", "message"),
    [
        (0, 2, "version 2"),
        (1, 0, "width 0"),
        (1, 5, "width 5"),
        (14, 9, "source or reason"),
        (15, 250, "source or reason"),
    ],
)
def test_a_foreign_value_is_refused(place, byte, message):
    # 12 header, 1 item, 1 score, 1 palette position, 1 source, 1 reason
    value = bytearray(pack_list([1], [0.5], ["als"], [2]))
    value[place] = byte
    with pytest.raises(ValueError, match=message):
        unpack_list(bytes(value))


def test_id_sets_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="65536 ids"):
        pack_ids(range(65_536))
    with pytest.raises(ValueError, match="version 9"):
        unpack_ids(b"\x09\x01\x00\x00")
    with pytest.raises(ValueError, match="5 bytes whose header asks for 4"):
        unpack_ids(b"\x01\x01\x00\x00\x00")
