"""``nightshelf report``: the page says what the lake holds, makes do with little of it, and asks for nothing else."""

import re
import subprocess
import sys
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from committed import commit
from lake_fixtures import NIGHT, at, lake_settings, rows, small_lake

from conf.settings import Settings
from jobs import cli
from jobs.kernels.statistics import first_places
from jobs.reporting.content import read_content
from jobs.reporting.examples import N_ACTIVE, N_USERS
from jobs.reporting.nights import TOP
from jobs.reporting.page import render
from jobs.reporting.plots import Line, draw_lines, draw_shares
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.manifest import Manifest, iso
from jobs.rim.verdict import Verdict, write_verdict
from schemas.tables import SCHEMA_VERSION

NASTY = "<script>alert('1')</script> & \"friends\" $x^2$"
SNEAKY = "</style><img src=http://127.0.0.1/x onerror=alert(2)>"
ITEMS = [{"item_id": "a", "title": "Apple"}, {"item_id": "b", "title": NASTY}, {"item_id": "c", "title": SNEAKY}]
KNOWN = [{"user_id": f"u{k}", "item_idx": idx, "last_time": at(12)} for k in range(4) for idx in (0, 1)]


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    """A lake of items a to f, three of them with a title; no night yet."""
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(tmp_path / "lake"))
    monkeypatch.setenv("NIGHTSHELF_LAKE__MIN_FREE_MB", "0")
    small_lake(tmp_path, events=[{"item_id": item} for item in "abcdef"], items=ITEMS)
    return lake_settings(tmp_path)


def night(settings: Settings, days: int, *slates: dict, passed: bool | None = True, failures=()) -> Lineage:
    """A night some days after ``NIGHT`` with these slates, judged unless ``passed`` is None."""
    lineage = Lineage(Lake.open(settings.lake), settings, NIGHT + timedelta(days=days))
    commit(lineage, "interactions", rows("interactions", *KNOWN))
    commit(lineage, "slates", rows("slates", *slates))
    if passed is not None:
        verdict = Verdict(
            "slates", lineage.version("slates"), passed, {"n_users": 2.0, "n_rows": 2.0, "fill": 0.25}, list(failures)
        )
        write_verdict(verdict, lineage)
    return lineage


def slate(user: str, *items: int, sources=None, because_of=None) -> dict:
    n = len(items)
    return {
        "user_id": user,
        "items": list(items),
        "scores": [1.0] * n,
        "sources": list(sources or ["als"] * n),
        "because_of": list(because_of or [0] * n),
        "propensities": [1.0] * n,
        "seen": [],
    }


def page_of(lineage: Lineage) -> str:
    return render(read_content(lineage))


class Tags(HTMLParser):
    """Every start tag with its attributes, every end tag, and all text."""

    VOID = frozenset({"meta", "br", "path", "use", "rect", "line", "circle"})

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def standing(cut: str, method: str, value: float, **others) -> dict:
    return {"cut": cut, "method": method, "value": value, "n_users": 40} | others


def evaluated(settings: Settings, days: int, *content: dict, version: str = "e") -> None:
    """An evaluation as of some days after ``NIGHT``."""
    lake, as_of = Lake.open(settings.lake), NIGHT + timedelta(days=days)
    key = f"{lake.attempt_key('metrics', as_of, version)}/part-00000.parquet"
    files = {"metrics": [lake.write(key, "metrics", rows("metrics", *content))]}
    moment, made_by = iso(as_of), (SCHEMA_VERSION, "code of the tests", "settings of the tests", 1)
    assert lake.commit(Manifest("evaluate", moment, version, moment, *made_by, {}, files, {}))


def test_a_first_night_says_that_there_is_nothing_before_it(settings):
    page = Tags(page_of(night(settings, 0, slate("u0", 2, 3), passed=None))).text
    assert "the lake holds no evaluation as of this moment or before" in page
    assert "there is none before this one yet" in page
    assert "The gate has judged nothing of this run yet" in page
    assert "Before:\nnone yet." in page


def test_a_night_without_slates_still_has_a_page_that_says_so(settings):
    lineage = Lineage(Lake.open(settings.lake), settings, NIGHT)
    page = Tags(page_of(lineage)).text
    assert "The slates of this run cannot be shown: they have not been computed." in page
    assert re.search(r"Not in the lake for this run: interactions, .*slates", page)


def test_a_night_that_made_no_slate_has_a_page(settings):
    content = read_content(night(settings, 0))
    assert (content.nights[0].n_users, content.nights[0].coverage, content.examples) == (0, 0.0, [])
    assert "<h1>" in render(content)


def test_nights_are_measured_against_the_one_before(settings):
    night(settings, 0, slate("gone", 5), slate("u0", 2, 3))
    after = night(
        settings,
        1,
        slate("u0", 3, 4, sources=["als", "trending"], because_of=[0, -1]),
        slate("u1", 2, sources=["promotion"], because_of=[-1]),
    )
    first, second = read_content(after).nights
    assert (first.churn, first.n_users, first.length) == (None, 2, 1.5)
    assert second.churn == 0.5  # of u0 alone: one of two items stayed
    assert second.shares == {"als": 1 / 3, "trending": 1 / 3, "promotion": 1 / 3}
    assert second.explained == pytest.approx(1 / 3)
    assert second.coverage == 3 / 6
    assert second.gini == pytest.approx(0.5)  # three of six items shown once each
    assert second.novelty == pytest.approx(3.0)  # none of the three among the 8 interactions: each counts as 1 of them


def test_examples_show_what_changed_and_why(settings):
    night(settings, 0, slate("u0", 2, 3))
    after = night(settings, 1, slate("u0", 3, 4, because_of=[1, -1]), slate("u1", 2))
    shown = {person.user_id: person for person in read_content(after).examples}
    u0, u1 = shown["u0"], shown["u1"]
    assert [(place.title, place.because_of, place.was) for place in u0.after] == [("d", NASTY, 2), ("e", None, None)]
    assert [place.title for place in u0.before] == [SNEAKY, "d"]
    assert u0.n_new == 1
    assert u0.last == [("2026-01-10", "Apple", False), ("2026-01-10", NASTY, False)]
    assert (u1.before, u1.n_new) == (None, 1)


def test_a_dozen_people_half_of_them_active_are_chosen_by_hash_alone(settings):
    everyone = [slate(f"s{k}", 2) for k in range(40)] + [slate(f"u{k}", 3) for k in range(4)]
    forward = read_content(night(settings, 0, *everyone)).examples
    backward = read_content(night(settings, 1, *reversed(everyone))).examples
    assert len(forward) == N_USERS > N_ACTIVE >= 4
    assert {f"u{k}" for k in range(4)} <= {person.user_id for person in forward}  # active on the day before NIGHT
    assert [p.user_id for p in forward if p.user_id[0] == "s"] == [p.user_id for p in backward if p.user_id[0] == "s"][
        :8
    ]


def test_before_is_the_newest_night_that_passed_not_one_that_was_refused(settings):
    night(settings, 0, slate("u0", 2))
    night(settings, 1, slate("u0", 5), passed=False)
    night(settings, 2, slate("u0", 5), passed=None)
    content = read_content(night(settings, 3, slate("u0", 4)))
    assert content.before == iso(NIGHT)
    assert [night.gate for night in content.nights] == ["passed", "REFUSED", "not judged", "passed"]
    assert [place.title for place in content.examples[0].before] == [SNEAKY]
    assert "REFUSED" in page_of(Lineage(Lake.open(settings.lake), settings, NIGHT + timedelta(days=3)))


def test_a_refused_night_says_why_even_if_its_slates_are_no_slates(settings):
    reason = "column n_repeated_items (slates): saw 1, allowed 0 <b>"
    lineage = night(settings, 0, slate("u0", 2, 2), passed=False, failures=[reason])
    page = page_of(lineage)
    assert "Gate: REFUSED" in Tags(page).text
    assert reason in Tags(page).text
    assert re.search(r"fill\s*0\.2500\s*0\.\d+ or more", Tags(page).text)
    assert "The slates of this run cannot be shown: lists hold an item twice in a row" in Tags(page).text


def test_a_night_whose_files_are_gone_is_left_out(settings):
    night(settings, 0, slate("u0", 2))
    after = night(settings, 1, slate("u0", 3))
    for path in Path(settings.lake.uri).glob("slates/as_of=20260111T000000Z/**/*.parquet"):
        path.unlink()
    content = read_content(after)
    assert [night.as_of for night in content.nights] == [iso(after.as_of)]
    assert (content.unreadable, content.before) == (None, None)


def test_evaluations_are_told_newest_first_pooled_paired_and_over_time(settings):
    evaluated(settings, -7, standing("pooled", "recipe", 0.10, low=0.08, high=0.12), version="old")
    evaluated(
        settings,
        0,
        standing("2026-01-09", "recipe", 0.21),
        standing("2026-01-10", "recipe", 0.23),
        standing("pooled", "recipe", 0.22, low=0.2, high=0.24),
        standing("pooled", "popularity_30", 0.11, low=0.1, high=0.12),
        standing("pooled", "recipe", 0.33, segment="heavy"),
        standing("pooled", "recipe", 0.11, against="popularity_30", low=0.09, high=0.13),
        standing("pooled", "recipe", -0.05, against="live", low=-0.07, high=-0.03),
        standing("pooled", "recipe", 0.01, against="popularity_30", measure="recall@20", low=-0.02, high=0.04),
    )
    evaluated(settings, 7, standing("pooled", "recipe", 0.99))  # of a later moment than the run: not known to it
    content = read_content(night(settings, 3, slate("u0", 2)))
    assert [e.as_of for e in content.evaluations] == [iso(NIGHT - timedelta(days=7)), iso(NIGHT)]
    page = Tags(render(content))
    assert "over 2 days (2026-01-09 to 2026-01-10)" in page.text
    judged = re.findall(
        r"(live|popularity 30)\s*(\S+@\d+)\s*all\s*(-?[.\d]{6})\s*\S+ to [-.\d]{6,7}\s*40\s*([a-z ]+?)\n", page.text
    )
    assert judged == [
        ("live", "ndcg@10", "-0.0500", "worse"),
        ("popularity 30", "ndcg@10", "0.1100", "better"),
        ("popularity 30", "recall@20", "0.0100", "no difference shown"),
    ]
    told = [attributes["aria-label"] for tag, attributes in page.tags if tag == "figure"]
    assert "ndcg@10 by day tested: recipe 0.2300 (2026-01-10)" in told
    assert "ndcg@10 over evaluations: recipe 0.2200 (2026-01-11); popularity 30 0.1100 (2026-01-11)" in told
    assert "ndcg@10 by segment: recipe 0.3300 (heavy); popularity 30 0.1100 (all)" in told
    assert "0.99" not in page.text


def test_sources_alone_are_told_by_day_over_time_and_beside_the_recipe(settings):
    evaluated(settings, -7, standing("pooled", "recipe", 0.10), standing("pooled", "source:ease", 0.08), version="old")
    evaluated(
        settings,
        0,
        *(standing("2026-01-09", name, 0.5) for name in ("recipe", "live", "popularity_30", "source:als_fading")),
        standing("2026-01-10", "recipe", 0.23),
        standing("2026-01-10", "source:als_fading", 0.17),
        standing("pooled", "recipe", 0.22, low=0.2, high=0.24),
        standing("pooled", "popularity_30", 0.11),
        standing("pooled", "live", 0.21),
        standing("pooled", "recipe", 0.33, segment="heavy"),
        standing("pooled", "source:als_fading", 0.16, low=0.12, high=0.2),
        standing("pooled", "source:als_fading", 0.3, measure="recall@20", low=0.25, high=0.35),
        standing("pooled", "source:als_fading", 0.77, measure="hit@10"),
    )
    page = Tags(page_of(night(settings, 0, slate("u0", 2))))
    told = [attributes["aria-label"] for tag, attributes in page.tags if tag == "figure"]
    by_day = "recipe 0.2300 (2026-01-10); popularity 30 0.5000 (2026-01-09); als fading 0.1700 (2026-01-10)"
    assert f"ndcg@10 by source and day tested: {by_day}" in told
    over_time = "recipe 0.2200 (2026-01-11); popularity 30 0.1100 (2026-01-11); als fading 0.1600 (2026-01-11)"
    assert f"ndcg@10 by source, over evaluations: {over_time}; ease 0.0800 (2026-01-04)" in told
    assert [alt for alt in told if "als fading" in alt] == [alt for alt in told if "by source" in alt and "ndcg" in alt]
    table = page.text[page.text.index("Ranked by") : page.text.index("All measures, pooled")]
    value = r"\d\.\d{4}"
    row = rf"(recipe|live|popularity 30|als fading|ease)\s*({value})\s*({value} to {value})?\s*({value}|\N{{EN DASH}})"
    numbers = re.findall(row, table)
    assert numbers == [
        ("recipe", "0.2200", "0.2000 to 0.2400", "\N{EN DASH}"),
        ("als fading", "0.1600", "0.1200 to 0.2000", "0.3000"),
        ("popularity 30", "0.1100", "", "\N{EN DASH}"),
    ]
    assert "0.77" not in page.text
    assert "source:" not in page.text


def test_an_evaluation_that_measured_no_source_alone_shows_none(settings):
    evaluated(settings, 0, standing("pooled", "recipe", 0.22), standing("pooled", "popularity_30", 0.11))
    page = Tags(page_of(night(settings, 0, slate("u0", 2))))
    assert "Each source alone" not in page.text
    assert not [attributes for _, attributes in page.tags if "ndcg@10 by source" in attributes.get("aria-label", "")]


def test_faint_lines_are_thinner_and_below(settings):
    days, many = ["2026-01-01", "2026-01-02"], [0.1, 0.2]
    loud, faint = (draw_lines("values", [Line("a", days, many, faint=each)]) for each in (False, True))
    widths = [re.findall(r"fill: none; stroke: var\(--s0\); stroke-width: ([.\d]+)", drawn) for drawn in (loud, faint)]
    assert widths[0] > widths[1] > []
    both = draw_lines("values", [Line("a", days, many), Line("b", days, many, faint=True)])
    assert re.findall(r"fill: none; stroke: var\((--s\d)\)", both)[:2] == ["--s1", "--s0"]


def test_a_plot_of_many_lines_tells_each_by_its_color_and_makes_room_for_their_names():
    days = ["2026-01-01", "2026-01-02"]
    drawn = {n: draw_lines("values", [Line(f"l{k}", days, [0.1 * k, 0.2]) for k in range(n)]) for n in (3, 9)}
    assert set(re.findall(r"var\((--s\d)\)", drawn[9])) == {f"--s{k}" for k in range(9)}
    heights = [float(re.search(r'viewBox="0 0 [.\d]+ ([.\d]+)"', drawn[n])[1]) for n in (3, 9)]
    assert heights[1] > heights[0]


def test_of_two_evaluations_of_one_moment_one_counts(settings):
    evaluated(settings, 0, standing("pooled", "recipe", 0.1), version="a")
    evaluated(settings, 0, standing("pooled", "recipe", 0.2), version="b")
    (found,) = read_content(night(settings, 0, slate("u0", 2))).evaluations
    assert [row["value"] for row in found.rows] == [0.2]


def test_the_page_holds_only_its_own_elements_and_asks_for_nothing(settings):
    night(settings, 0, slate("u0", 1, 2))
    evaluated(settings, 0, *(standing("pooled", name, 0.1, segment="<b>$\\frac$") for name in ("recipe", "<i>")))
    page = page_of(night(settings, 1, slate("u0", 2, 1, because_of=[1, 2])))
    parsed = Tags(page)
    assert not parsed.open
    assert NASTY in parsed.text
    assert SNEAKY in parsed.text
    assert not {tag for tag, _ in parsed.tags} & {"script", "img", "link", "iframe", "object", "b", "i", "image"}
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "action")], (
            tag,
            attributes,
        )
        assert all(value.startswith("#") for name, value in attributes.items() if name in ("href", "xlink:href"))
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="|url\()#([\w-]+)', page)
    assert used
    assert set(used) <= set(ids)
    assert [tag for tag, _ in parsed.tags if tag in ("h1", "title", "main")] == ["title", "h1", "main"]


def test_the_command_writes_once_per_content_and_prints_what_it_wrote(settings, tmp_path, capfdbinary):
    lineage = night(settings, 0, slate("u0", 2), passed=None)
    argv = ["report", "--as-of", iso(NIGHT), "--out", str(tmp_path / "page.html")]
    assert cli.main(argv) == 0
    path = Path(capfdbinary.readouterr().out.decode().splitlines()[-1])
    assert path.parent == Path(settings.lake.uri) / "reports/as_of=20260111T000000Z"
    assert path.read_bytes() == (tmp_path / "page.html").read_bytes()
    assert cli.main(argv) == 0
    assert Path(capfdbinary.readouterr().out.decode().splitlines()[-1]) == path
    write_verdict(Verdict("slates", lineage.version("slates"), True, {}, []), lineage)
    assert cli.main(argv[:3]) == 0
    assert Path(capfdbinary.readouterr().out.decode().splitlines()[-1]) != path  # the gate's word makes another page
    assert cli.main(["report", "--print", f"{path.parent.name}/{path.name}"]) == 0
    assert capfdbinary.readouterr().out == path.read_bytes()


@pytest.mark.parametrize("name", ["as_of=20260111T000000Z/v=0123456789abcdef.html", "../batches/0000000001.json", "x"])
def test_what_is_no_report_is_not_printed(settings, capsys, name):
    assert cli.main(["report", "--print", name]) == 2
    assert f"no report {name!r}" in capsys.readouterr().err


def test_of_a_night_that_never_was_no_page_is_written(settings, capsys):
    assert cli.main(["report", "--as-of", "2001-01-01T00:00:00Z"]) == 2
    assert "no step was run as of 2001-01-01T00:00:00Z, snapshot 1, in " in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["--as-of", iso(NIGHT), "--print", "x"]])
def test_a_report_is_either_made_or_printed(argv, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["report", *argv])
    capsys.readouterr()


def test_another_process_writes_the_same_bytes(settings, monkeypatch, capsys):
    night(settings, 0, slate("u0", 2, 3, sources=["als", "trending"]), slate("u1", 3))
    evaluated(settings, 0, *(standing("pooled", m, 0.1, segment=s) for m in ("recipe", "live") for s in ("new", "all")))
    argv = ["report", "--as-of", iso(NIGHT)]
    assert cli.main(argv) == 0
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    done = subprocess.run([sys.executable, "-m", "jobs.cli", *argv], capture_output=True, text=True, check=True)
    assert done.stdout == capsys.readouterr().out


def test_first_places_of_lists_of_any_length():
    lists = rows("slates", slate("a"), slate("b", 4), slate("c", *range(TOP + 3)))["items"].combine_chunks()
    padded = [[-1] * TOP, [4] + [-1] * (TOP - 1), list(range(TOP))]
    assert first_places(lists, TOP).tolist() == padded
    assert first_places(lists.slice(1), TOP).tolist() == padded[1:]
    assert first_places(lists.slice(0, 1), TOP).tolist() == padded[:1]


def test_small_sources_are_drawn_as_other():
    shares = [{f"s{k}": (12 - k) / 78 for k in range(12)}]
    drawn = draw_shares("shares", ["2026-01-11"], shares)
    assert re.findall(r">(s\d+|other)<", drawn) == [*(f"s{k}" for k in range(8)), "other"]


def test_plots_leave_out_what_was_not_measured_and_take_their_colors_from_the_page():
    drawn = draw_lines("values", [Line("a_b", ["2026-01-02", "2026-01-01"], [None, 0.5], [None, 0.4], [None, 0.6])])
    assert sorted(re.findall(r">(0[12]-[^<]+|2026|a b)<", drawn)) == ["01-01", "01-02", "2026"]  # alone: no legend
    assert "var(--s0)" in drawn
    assert "currentColor" in drawn
    assert not re.findall(r"#0[0-9a-f]{5}\b", drawn)
    assert "nan" not in drawn.lower()
