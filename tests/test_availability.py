"""Corrections of availability: the packed value, what a change does, and what comes of it beside a catalogue."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.availability import (
    UNCORRECTED,
    Availability,
    changed,
    corrected,
    items_of,
    pack_availability,
    unpack_availability,
)

ITEMS = st.sets(st.integers(0, 70))


@hypothesis_settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(ITEMS, ITEMS, ITEMS), max_size=4), st.binary(max_size=60))
def test_changes_add_up_and_come_back_packed(changes, raw):
    flags, now, wanted = bytes(value & 1 for value in raw), UNCORRECTED, {}
    for out, back, forget in changes:
        now = changed(now, out, back, forget)
        wanted = {item: value for item, value in wanted.items() if item not in forget}
        wanted |= dict.fromkeys(back, True) | dict.fromkeys(out, False)
    read = unpack_availability(pack_availability(now))
    assert read.sequence == len(changes)
    assert (set(items_of(read.out)), set(items_of(read.back))) == (
        {item for item, value in wanted.items() if not value},
        {item for item, value in wanted.items() if value},
    )
    available = corrected(flags, read)
    assert [available(item) for item in range(80)] == [
        item < len(flags) and wanted.get(item, flags[item] == 1) for item in range(80)
    ]
    assert not available(-1)


def test_a_hundred_of_a_hundred_thousand_are_small():
    assert len(pack_availability(changed(UNCORRECTED, out=range(0, 100_000, 1_000)))) < 500


def test_damage_is_refused():
    good = pack_availability(changed(UNCORRECTED, out=[1, 9], back=[2]))
    bomb = pack_availability(Availability(1, bytes(1_000_000), b""))
    wrong = [b"", good[:10], b"\x02" + good[1:], good[:-1] + b"?", good[:9] + b"\xff\xff\xff\xff" + good[13:]]
    wrong += [good[:17], bomb[:9] + bytes([1, 0, 0, 0]) + bomb[13:]]
    for raw in wrong:
        with pytest.raises(ValueError, match="availability"):
            unpack_availability(raw)
