"""trending: distinct people by the age of their newest event, for everybody and for each segment, by hand."""

import pytest
from lake_fixtures import NIGHT, at, backwards, dictionary, rows
from spark_fixture import as_frame, quick_spark  # noqa: F401

from conf.settings import load_settings
from jobs.trending import JOB, transform

NAMES = "abcdefghijkl"


@pytest.fixture
def run(quick):
    """Transform; gives segment → list of (item_idx, score, n_users) in rank order."""

    def transformed(events=(), items=(), users=(), mixed=False, **wanted) -> dict[str, list[tuple]]:
        content = rows("events", *events)
        if mixed:
            content = backwards(content)
        inputs = {
            "events": as_frame(quick, "events", content),
            "items": as_frame(quick, "items", rows("items", *items)),
            "users": as_frame(quick, "users", rows("users", *users)),
            "item_dictionary": as_frame(quick, "item_dictionary", dictionary(*NAMES)),
        }
        if mixed:
            inputs["events"] = inputs["events"].repartition(5)
        settings = load_settings(trending={"half_life_hours": 12, "min_users": 1} | wanted)
        (result,) = transform(inputs, NIGHT, settings).values()
        found = sorted(result.toArrow().to_pylist(), key=lambda row: (row["segment"], row["rank"]))
        lists: dict[str, list[tuple]] = {}
        for row in found:
            lists.setdefault(row["segment"], []).append((row["item_idx"], row["score"], row["n_users"]))
            assert row["rank"] == len(lists[row["segment"]])
        return lists

    return transformed


def test_parts_of_the_day_are_six_hours_each(run):
    hours = {"a": 0, "b": 5, "c": 6, "d": 11, "e": 12, "f": 17, "g": 18, "h": 23}
    found = run([{"item_id": name, "event_time": at(hour)} for name, hour in hours.items()], segments=["daypart"])
    parts = {name.removeprefix("daypart="): {row[0] for row in lists} for name, lists in found.items()}
    assert parts.pop("all") == set(range(8))
    assert parts == {"night": {0, 1}, "morning": {2, 3}, "afternoon": {4, 5}, "evening": {6, 7}}


def test_a_person_counts_once_by_their_newest_event(run):
    """as_of is midnight and the half-life 12 h: an event at noon weighs 0.5, one at midnight before 0.25."""
    found = run(
        events=[
            {"item_id": "a", "event_time": at(0)},
            {"item_id": "a", "event_time": at(12)},  # the same person again: 0.5 in all
            {"item_id": "b", "event_time": at(0), "user_id": "u2"},  # 0.25
            {"item_id": "b", "event_time": at(12), "user_id": None, "session_id": "s1"},  # + 0.5
            {"item_id": "c", "event_time": at(18), "user_id": "u2"},  # 2^-0.5 = 0.707107
            {"item_id": "d", "kind": "impression"},  # none of these is a sign of liking
            {"item_id": "d", "kind": "return"},
            {"item_id": "d", "kind": "dislike"},
            {"item_id": None, "kind": "search"},
            {"item_id": "z"},  # not in the dictionary
            {"item_id": "e"},  # marked as unavailable
        ],
        items=[{"item_id": "a"}, {"item_id": "e", "available": False}],  # without a row: available
        segments=[],
    )
    assert found == {"all": [(1, 0.75, 2), (2, 0.707107, 1), (0, 0.5, 1)]}


def test_segments_are_what_is_known_of_event_item_and_user(run):
    found = run(
        events=[
            {"item_id": "a", "country": "FR", "device": "mobile"},
            {"item_id": "b", "user_id": "u2"},
            {"item_id": "b", "user_id": None, "session_id": "s1"},
        ],
        items=[{"item_id": "a", "category": "books"}],
        users=[{"country": "DE", "age_band": "20-29"}, {"user_id": "u2", "country": "ES"}],
    )
    assert {segment: [item for item, *_ in listed] for segment, listed in found.items()} == {
        "all": [1, 0],
        "category=books": [0],
        "country=FR": [0],  # where the event happened wins over where the user lives
        "country=ES": [1],
        "device=mobile": [0],
        "age_band=20-29": [0],
    }


def test_small_segments_have_no_list_and_ties_go_to_the_smaller_index(run):
    events = [{"user_id": f"u{u}", "item_id": item, "country": "FR"} for u in range(3) for item in "ba"]
    events += [{"user_id": f"u{u}", "item_id": item, "country": "DE"} for u in range(2) for item in "bc"]
    found = run(events, segments=["country"], min_users=3)
    assert {segment: [item for item, *_ in listed] for segment, listed in found.items()} == {
        "all": [0, 1, 2],  # a and b by the same 3 people, whatever country they were in; c by 2
        "country=FR": [0, 1],
    }


def test_who_meets_more_items_in_an_hour_than_anybody_can_counts_for_nothing(run):
    """The bot's three items of 7:00 to 8:00 take its event of the evening with them; a person's two an hour stay."""
    bot = [{"user_id": "bot", "item_id": item, "event_time": at(7 + k / 3)} for k, item in enumerate("abc")]
    bot += [{"user_id": "bot", "item_id": "d", "event_time": at(20)}]
    hours = [{"user_id": "u", "item_id": item, "event_time": at(7.5 + k / 3)} for k, item in enumerate("abef")]
    again = [{"user_id": "v", "item_id": "a", "event_time": at(7 + k / 9)} for k in range(9)]  # reloads are one item
    found = run([*bot, *hours, *again], segments=[], max_person_items=2)
    assert {item: n_users for item, _, n_users in found["all"]} == {0: 2, 1: 1, 4: 1, 5: 1}


def test_throw_away_sessions_lift_an_item_no_higher_than_its_public_does(run):
    """Item a: a user and 9 strangers, of whom 2 (1 + 1) count, the newest; b: 3 strangers alone, 2 (0 + 1)."""
    a = [{"user_id": None, "session_id": f"s{k}", "item_id": "a", "event_time": at(12 + k / 60)} for k in range(9)]
    b = [{"user_id": None, "session_id": f"t{k}", "item_id": "b"} for k in range(3)]
    wide = [{"user_id": None, "session_id": "w", "item_id": item} for item in "cd"]  # met two items: no stranger
    known = [{"user_id": f"u{k}", "item_id": "c"} for k in range(4)] + [{"item_id": "a"}]
    everything = [*a, *b, *wide, *known]
    found = run(everything, segments=[], max_strangers=2)
    assert {item: n_users for item, _, n_users in found["all"]} == {0: 5, 1: 2, 2: 5, 3: 1}
    newest = run([*a[5:], *b, *wide, *known], segments=[], max_strangers=2)
    assert found == newest == run(everything, mixed=True, segments=[], max_strangers=2)
    assert run(everything, segments=[], max_strangers=9)["all"][0][2] == 10


def test_row_order_and_partitions_change_nothing_and_short_lists_are_heads(run):
    events = [
        {
            "user_id": f"u{k % 11}",
            "item_id": NAMES[k * 5 % 12],
            "event_time": at(k / 4),
            "country": ("FR", "DE")[k % 2],
        }
        for k in range(90)
    ]
    whole = run(events)
    assert {segment: len(listed) for segment, listed in whole.items()} == {
        "all": 12, "country=FR": 6, "country=DE": 6}  # fmt: skip
    assert run(events, mixed=True, n_items=10) == {segment: listed[:10] for segment, listed in whole.items()}


def test_the_window_is_the_settings():
    assert JOB.window(load_settings(trending={"window_hours": 5})).total_seconds() == 5 * 3600
