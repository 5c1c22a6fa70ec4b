"""The memory-mapped catalogue: look-ups both ways, over bytes and mmap, damage refused."""

import math
import mmap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import catalogue as module
from schemas.catalogue import ABSENT, Catalogue, pack_catalogue

ROWS = [
    ("a/b", "Title", "toys", True, 12.5),
    ("ünï-№", None, "Küche", False),
    ("", "no id", None, True),
    ("\ud800 lone", "x" * 10_000, "", True),
]
TEXT = st.text(st.characters(), max_size=20)


def test_every_field_comes_back():
    found = Catalogue(pack_catalogue(ROWS, 42))
    assert len(found) == 4
    assert found.dictionary_version == 42
    for idx, (item_id, title, category, available, *price) in enumerate(ROWS):
        assert found.price(idx) == price[0] if price else math.isnan(found.price(idx))
        code = found.category_code(idx)
        assert (found.categories[code] if category is not None else code) == (ABSENT if category is None else category)
        assert found.record(idx) == (item_id, title, category)
        assert (found.id(idx), found.title(idx), found.category(idx)) == (item_id, title, category)
        assert found.available(idx) is available
        assert found.index(item_id) == idx
    assert found.flags == bytes([1, 0, 1, 1])
    assert found.categories == sorted({"toys", "Küche", ""})
    assert [found.code_of(name) for name in ("", "toys", "none")] == [0, 2 if "toys" > "Küche" else 1, None]
    codes, prices = found.columns()
    assert codes == tuple(found.category_code(idx) for idx in range(4))
    assert prices[0] == 12.5


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXT, unique=True, max_size=30), TEXT)
def test_an_id_is_found_exactly_where_it_stands(ids, other):
    found = Catalogue(pack_catalogue([(item_id, None, None, True) for item_id in ids], 1))
    assert [found.index(item_id) for item_id in ids] == list(range(len(ids)))
    assert found.index(other) == (ids.index(other) if other in ids else None)


def test_ids_whose_hashes_collide_are_told_apart(monkeypatch):
    monkeypatch.setattr(module, "id_hash", lambda item_id: len(item_id))
    found = Catalogue(pack_catalogue([(item_id, None, None, True) for item_id in ("aa", "b", "cc", "d")], 1))
    assert [found.index(item_id) for item_id in ("aa", "b", "cc", "d", "zz", "abc")] == [0, 1, 2, 3, None, None]


def test_it_reads_from_a_memory_map(tmp_path):
    path = tmp_path / "catalogue"
    path.write_bytes(pack_catalogue(ROWS, 1))
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert Catalogue(mapped).title(0) == "Title"


def test_an_unknown_index_is_unavailable_and_has_no_record():
    found = Catalogue(pack_catalogue(ROWS, 1))
    assert not found.available(-1)
    assert not found.available(4)
    for idx in (-1, 4):
        assert found.category_code(idx) == ABSENT
        assert math.isnan(found.price(idx))
        with pytest.raises(IndexError, match="0 to 3"):
            found.record(idx)


def test_an_empty_catalogue_knows_nothing():
    assert Catalogue(pack_catalogue([], 0)).index("x") is None


def test_an_id_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match="'a/b' stands at item_idx 0 and 4"):
        pack_catalogue([*ROWS, ROWS[0]], 1)


def test_damage_is_refused():
    packed = pack_catalogue(ROWS, 1)
    for cut in (0, 7, 47, 48, len(packed) - 1):
        with pytest.raises(ValueError, match="bytes"):
            Catalogue(packed[:cut])
    with pytest.raises(ValueError, match="bytes"):
        Catalogue(packed + b"\0")
    for place in range(48, len(packed), 997):
        damaged = bytearray(packed)
        damaged[place] ^= 1
        with pytest.raises(ValueError, match="checksum"):
            Catalogue(bytes(damaged))
    for place, value in ((0, b"X"), (8, b"\x01")):
        with pytest.raises(ValueError, match="begins"):
            Catalogue(packed[:place] + value + packed[place + 1 :])
