"""Which hours are in the lake: pure, and as the command says it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from lake_fixtures import DAY, at, next_batch, small_lake

from jobs import cli
from jobs.rim.coverage import check_interval, covered_by, describe, missing, n_hours
from jobs.rim.errors import UsageError
from jobs.rim.manifest import iso

WHOLE = (at(0), at(24))


@pytest.fixture
def batches(tmp_path):
    """Made of stretches of hours counted from midnight of DAY; numbered in the order given."""
    base = next_batch(small_lake(tmp_path))

    def make(*stretches: tuple[int, int]) -> list:
        return [
            replace(base, number=k + 1, batch_id=f"b{k + 1}", first_hour=iso(at(first)), end_hour=iso(at(end)))
            for k, (first, end) in enumerate(stretches)
        ]

    return make


@pytest.mark.parametrize(
    ("stretches", "gaps"),
    [
        ([(0, 24)], []),
        ([(-500, 700)], []),  # a bulk history
        ([(12, 24), (0, 12)], []),  # in any order
        ([(0, 24), (3, 5)], []),  # one inside another ends nothing
        ([(k, k + 1) for k in range(24)], []),
        ([(0, 4), (7, 24)], [(4, 7)]),
        ([(1, 2), (5, 6)], [(0, 1), (2, 5), (6, 24)]),
        ([(-48, 0), (24, 48)], [(0, 24)]),  # the days around it
        ([(-48, -24)], [(0, 24)]),
        ([], [(0, 24)]),
    ],
)
def test_what_no_batch_covers_is_missing(batches, stretches, gaps):
    found = missing(batches(*stretches), WHOLE)
    assert found == [(at(low), at(high)) for low, high in gaps]
    assert n_hours(found) == sum(high - low for low, high in gaps)
    covering = covered_by(batches(*stretches), WHOLE)
    assert (covering is None) == bool(gaps)


def test_of_several_that_cover_it_the_newest_counts_and_others_do_not(batches):
    assert covered_by(batches((0, 24), (3, 5), (48, 49)), WHOLE).number == 2


def test_stretches_are_told_with_both_ends_among_the_hours():
    gaps = [(at(4), at(7)), (at(9), at(10)), (at(22), at(26))]
    assert describe(gaps) == "2026-01-10T04..06, 2026-01-10T09, 2026-01-10T22..2026-01-11T01"
    many = [(at(2 * k), at(2 * k + 1)) for k in range(12)]
    assert describe(many).endswith("2026-01-10T14, and 4 more stretches")


@pytest.mark.parametrize("interval", [(at(1), at(1)), (at(2), at(1)), (at(0.5), at(2)), (at(0), at(2.5))])
def test_only_whole_hours_can_be_asked_for(interval):
    with pytest.raises(UsageError, match="give whole UTC hours, START before END"):
        check_interval(interval)


def test_half_hours_of_a_zone_are_no_whole_hours_of_utc():
    kolkata = datetime.fromisoformat("2026-01-10T00:00:00+05:30")
    with pytest.raises(UsageError):
        check_interval((kolkata, kolkata + timedelta(hours=1)))
    check_interval((DAY, DAY.astimezone(UTC) + timedelta(hours=1)))


def test_the_command_pins_the_newest_batch_or_names_what_is_missing(tmp_path, monkeypatch, capsys):
    small_lake(tmp_path)  # covers all of DAY
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(tmp_path / "lake"))
    assert cli.main(["covered", "--interval", "2026-01-10T00:00:00Z", "2026-01-11T00:00:00Z"]) == 0
    assert capsys.readouterr().out == "all 24 hours are in the lake\n1\n"
    beyond = ["covered", "--interval", "2026-01-10T20:00:00+00:00", "2026-01-11T03:00:00+00:00"]
    assert cli.main(beyond) == 75
    told = "3 of 7 hours are not in the lake: 2026-01-11T00..02\n"
    assert capsys.readouterr().err == f"nightshelf: {told}"
    assert cli.main([*beyond, "--anyway"]) == 0
    assert capsys.readouterr().out == f"warning: {told}1\n"
    assert cli.main(["covered", "--interval", "2026-01-10T00:30:00Z", "2026-01-11T00:00:00Z"]) == 2
