"""The release map and the key names: strict reading, what is kept, no hot slot."""

import orjson
import pytest

from schemas.keys import Keys, tag_of, unix_path
from schemas.release import CatalogueRelease, Published, Release, from_json

NOON, LATER = "2026-01-02T12:00:00Z", "2026-01-02T13:00:00Z"
CATALOGUE = CatalogueRelease("ab" * 32, 1, 100, 5, 5, NOON)


def published(surface="for_you", number=1, as_of=NOON):
    base = f"{surface}-20260102T120000Z-{number:012x}"
    return Published(base, tag_of(base), None, as_of, as_of, 10, 5)


def release(**changes):
    base = {"epoch": 3, "released_at": NOON, "key_version": 1, "catalogue": CATALOGUE}
    return Release(**(base | {"surfaces": {"for_you/control": published()}, "previous": {}} | changes))


def test_a_release_comes_back_from_its_json():
    wanted = release(previous={"for_you/control": (published(number=2), published(number=3))})
    assert from_json(wanted.to_json()) == wanted


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.pop("epoch"),
        lambda value: value.update(extra=1),
        lambda value: value.update(epoch="3"),
        lambda value: value.update(epoch=True),
        lambda value: value.update(epoch=-1),
        lambda value: value.update(released_at="2026-01-02 12:00"),
        lambda value: value.update(released_at=7),
        lambda value: value.update(surfaces=[]),
        lambda value: value.update(previous={"for_you/control": 3}),
        lambda value: value.update(catalogue=None),
        lambda value: value["catalogue"].update(sha=None),
        lambda value: value["surfaces"].update({"for_me/control": value["surfaces"]["for_you/control"]}),
        lambda value: value["surfaces"].update({"for_you": value["surfaces"]["for_you/control"]}),
        lambda value: value["surfaces"].update({"similar/control": value["surfaces"]["for_you/control"]}),
        lambda value: value["surfaces"]["for_you/control"].update(tag="AAAAAAAA"),
        lambda value: value["surfaces"]["for_you/control"].update(base="live"),
        lambda value: value["surfaces"]["for_you/control"].update(delta=5),
        lambda value: value["surfaces"]["for_you/control"].pop("as_of"),
        lambda value: value["surfaces"].update({"for_you/control": None}),
        lambda value: value.update(pinned="for_you-20260102T120000Z-000000000001"),
        lambda value: value.update(pinned=[7]),
    ],
)
def test_anything_else_is_refused(spoil):
    value = orjson.loads(release().to_json())
    spoil(value)
    with pytest.raises(ValueError, match=r"release|generation|time data"):
        from_json(orjson.dumps(value))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"null"])
def test_no_release_at_all_is_refused(raw):
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own words
        from_json(raw)


def test_a_switch_keeps_other_surfaces_and_what_it_replaces():
    before = release(surfaces={"for_you/control": published(), "trending/control": published("trending")})
    after = before.switched({"for_you/control": published(number=2, as_of=LATER)}, CATALOGUE, 2, LATER, keep=3)
    assert (after.epoch, after.released_at, after.key_version) == (4, LATER, 2)
    assert after.live("trending") == before.live("trending")
    assert after.live("for_you").base.endswith("2")
    assert after.previous == {"for_you/control": (published(),)}


def test_at_most_keep_generations_stay_newest_first():
    now = release()
    for number in range(2, 7):
        now = now.switched({"for_you/control": published(number=number)}, CATALOGUE, 1, LATER, keep=3)
    assert [entry.base[-1] for entry in now.previous["for_you/control"]] == ["5", "4"]
    assert {name[-1] for name in now.kept()} == {"6", "5", "4"}


def test_going_live_again_does_not_keep_a_generation_twice():
    back = release().switched({"for_you/control": published(number=2)}, CATALOGUE, 1, LATER, keep=3)
    again = back.switched({"for_you/control": published(number=1)}, CATALOGUE, 1, LATER, keep=3)
    assert [entry.base[-1] for entry in again.previous["for_you/control"]] == ["2"]


def test_pinned_generations_are_kept_beyond_the_others_and_forgotten_when_gone():
    now = release(pinned=(published(number=1).base, "for_you-20260102T120000Z-00000000dead"))
    for number in range(2, 7):
        now = now.switched({"for_you/control": published(number=number)}, CATALOGUE, 1, LATER, keep=3)
    assert [entry.base[-1] for entry in now.previous["for_you/control"]] == ["5", "4", "1"]
    assert now.pinned == (published(number=1).base,)
    assert from_json(now.to_json()) == now


def test_a_release_without_pins_reads_as_it_did_before_there_were_any():
    assert "pinned" not in orjson.loads(release().to_json())


def test_the_one_before_is_the_newest_that_is_older():
    times = ("2026-01-02T10:00:00Z", "2026-01-02T13:00:00Z", "2026-01-02T11:00:00Z")
    previous = tuple(published(number=k + 2, as_of=as_of) for k, as_of in enumerate(times))
    now = release(previous={"for_you/control": previous})
    assert now.older("for_you/control") == previous[2]
    assert now.older("similar/control") is None
    assert release().older("for_you/control") is None


def test_a_tag_is_as_unique_as_the_id_and_short():
    assert tag_of("for_you-20260102T120000Z-00000000002a") == "AAAAAAAq"
    for wrong in ("", "for_you-20260102T120000Z-xyz", "for_you-2026-00000000002a"):
        with pytest.raises(ValueError, match="generation"):
            tag_of(wrong)


def test_no_slot_is_decided_by_the_generation():
    keys = Keys("ns")
    assert keys.slate("ab", "TAG") == "ns:{u:ab}:TAG"
    names = [keys.slate("ab", "T"), keys.seen("ab", "T"), keys.delta("ab", "T"), keys.flags("ab"), keys.recents("ab")]
    assert {name.split("{")[1].split("}")[0] for name in names} == {"u:ab"}
    assert len(set(names)) == 5
    others = [keys.neighbors(7, "T"), keys.trending("all", "T"), keys.catalogue("s", 0)]
    assert [name.split("{")[1].split("}")[0] for name in others] == ["i:7", "t:all", "cat:s"]
    control = [keys.live, keys.lease, keys.token, keys.loads]
    assert {name.split("{")[1].split("}")[0] for name in control} == {"ctl"}
    assert len(set(control)) == 4


def test_socket_urls_may_be_relative():
    assert unix_path("unix://.nightshelf/redis.sock") == ".nightshelf/redis.sock"
    assert unix_path("unix:///run/a%20b/redis.sock?db=0") == "/run/a b/redis.sock"
    assert unix_path("redis://localhost:6379/0") is None
