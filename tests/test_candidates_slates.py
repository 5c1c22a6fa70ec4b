"""candidates and slates: a small world from recipe to slates, judged by a dense oracle and by what was promised."""

from collections import defaultdict
from datetime import datetime

import either_engine
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from lake_fixtures import NIGHT, at, dictionary, rows
from spark_fixture import as_frame, quick_spark  # noqa: F401

from conf.rules import load_rules
from conf.settings import load_settings
from jobs import candidates, fit, recipe, slates
from jobs.kernels.proposals import SHOWN_AS
from jobs.kernels.recipe.recommend import LEAST
from jobs.kernels.recipe.stored import from_row
from schemas.tables import UNEXPLAINED

N_USERS, N_ITEMS, N_DAYS = 36, 26, 12
RARE, UNHEARD = N_ITEMS, N_ITEMS + 1  # one person's only; in the dictionary, without an event
GONE = {3, 7, 11}  # items that are not available
BASKETS_HALVE_S = 7 * 86_400
SETTINGS = load_settings(
    fit={"probe_share": 0, "min_probes": 0}, candidates={"block_users": 16}, slates={"n_items": 10, "n_seen": 5}
)
WEIGHTS = rows(
    "event_weights", {}, {"kind": "purchase", "weight_micro": 4_000_000}, {"kind": "dislike", "weight_micro": 0}
)


def name_of(item: int) -> str:
    return f"i{(item * 7) % 100:02}"  # so that ids do not sort as indices do


def visits() -> list[tuple[str, int, datetime, str]]:
    """Who did what when: each person prefers a third of the items, buys some and dislikes a few of the others."""
    random = np.random.default_rng(5)
    told = []
    for user in range(N_USERS):
        for item in range(N_ITEMS):
            if random.random() < (0.45 if item % 3 == user % 3 else 0.1):
                kind = random.choice(["view", "view", "purchase", "dislike"])
                told.append((f"u{user:02}", item, at(float(random.random() * 24 * N_DAYS), days=1 - N_DAYS), str(kind)))
    told += [("glutton", item, at(item / 2), "view") for item in range(N_ITEMS + 1)]  # has all of it
    told += [("sour", item, at(item), "dislike") for item in range(3)]  # likes nothing
    return [*told, ("lone", RARE, at(3), "view"), ("lone", 4, at(5), "dislike")]


VISITS = visits()
OWN, LIKED, BOUGHT = defaultdict(set), defaultdict(dict), defaultdict(set)
for _user, _item, _time, _kind in VISITS:
    OWN[_user].add(_item)
    if _kind != "dislike":
        LIKED[_user][_item] = _time
    if _kind == "purchase":
        BOUGHT[_user].add(_item)
# Known to interactions, not to the fit: who came after it, and what nobody took
OWN["late"], LIKED["late"] = {2, 5}, {2: at(20), 5: at(21)}
OWN["foreign"], LIKED["foreign"] = {UNHEARD}, {}


def interactions() -> pa.Table:
    micro = {"view": 1_000_000, "purchase": 4_000_000, "dislike": 0}
    known = [*VISITS, ("late", 2, at(20), "view"), ("late", 5, at(21), "view"), ("foreign", UNHEARD, at(4), "view")]
    cells = [
        {"user_id": user, "item_idx": item, "weight_micro": micro[kind], "first_time": time, "last_time": time}
        | ({"n_purchases": 1, "last_purchase_time": time} if kind == "purchase" else {})
        for user, item, time, kind in known
    ]
    return rows("interactions", *cells)


def raw_tables() -> dict[str, pa.Table]:
    told = [
        {"user_id": user, "item_id": name_of(item), "event_time": time, "kind": kind}
        for user, item, time, kind in VISITS
    ]
    items = [
        {"item_id": name_of(item), "available": item not in GONE, "category": "tea" if item % 2 else "cups"}
        for item in range(N_ITEMS)
    ]
    return {
        "events": rows("events", *told),
        "event_weights": WEIGHTS,
        "items": rows("items", *items),
        "item_dictionary": dictionary(*(name_of(item) for item in range(UNHEARD + 1))),
        "users": rows("users", *({"user_id": user, "country": "FR"} for user in ("u00", "u01", "stranger"))),
        "interactions": interactions(),
        "content_neighbors": rows("content_neighbors"),
        "segment_lists": rows("segment_lists"),
    }


def fitted(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    made = fit.transform(tables, NIGHT, SETTINGS)
    return {name: made[name] for name in fit.OUTPUTS}


@pytest.fixture(scope="module")
def world(quick) -> dict[str, pa.Table]:
    """The tables of a night, with both transforms' rows; its recipe knew few events: all sources, fused."""
    tables = raw_tables()
    few = tables | {"events": tables["events"].slice(0, 40)}
    tables |= {"recipe": recipe.transform(few, NIGHT, SETTINGS)["recipe"]}
    tables |= fitted(tables)
    proposed = propose(quick, tables)
    return tables | {"candidates": proposed, "slates": merge(quick, tables, proposed)}


def propose(session, tables, rules=None, settings=SETTINGS, in_parts: int = 0) -> pa.Table:
    """The rows of candidates; with ``in_parts`` from rows in another order and so many partitions."""
    return transformed(candidates, session, tables, rules, settings, in_parts)


def merge(session, tables, proposed, rules=None, settings=SETTINGS, in_parts: int = 0) -> pa.Table:
    return transformed(slates, session, tables | {"candidates": proposed}, rules, settings, in_parts)


def transformed(step, session, tables, rules, settings, in_parts: int) -> pa.Table:
    of, asked = step.JOB.name, getattr(settings, step.JOB.name).engine
    tables = {name: mixed(tables[name]) if in_parts else tables[name] for name in step.JOB.inputs}
    inputs = either_engine.told(session, tables, in_parts or 1) | {"rules": rules or load_rules()}
    found = step.transform(inputs, NIGHT, settings)
    assert found["measured"]["engine"] == ("threads" if asked == "auto" else asked)
    return either_engine.made(found[of] if asked == "spark" else list(found[of]), of)


def mixed(table):
    return table.take(np.random.default_rng(1).permutation(table.num_rows))


Told = list[tuple[int, str, int, float]]  # item, source, reason and score in rank order


def ranked(proposed: pa.Table) -> dict[str, Told]:
    """Each person's candidates of all sources, the best first."""
    found = defaultdict(list)
    for row in proposed.to_pylist():
        columns = (row["items"], [row["source"]] * len(row["items"]), row["because_of"], row["scores"])
        found[row["user_id"]] += list(zip(*columns, strict=True))
    return {user: sorted(told, key=lambda one: (-one[3], one[0])) for user, told in found.items()}


# the oracle: everything the long way round, out of the fitted tables


def vectors(table: pa.Table, key: str, source: str) -> dict:
    mine = [row for row in table.to_pylist() if row["source"] == source]
    return {row[key]: np.array(row["vector"], np.float64) for row in mine}


class Oracle:
    """Scores and reasons of every source for one person; ``chosen`` in the recipe's order."""

    def __init__(self, tables: dict[str, pa.Table]):
        self.chosen = from_row(tables["recipe"].to_pylist()[0]).chosen
        self.now = max(time for _, _, time, kind in VISITS if kind != "dislike")
        self.users = {name: vectors(tables["user_factors"], "user_id", name) for name in self.chosen}
        self.items = {name: vectors(tables["item_factors"], "item_idx", name) for name in self.chosen}
        self.weights = {
            (row["source"], row["item_idx"], other): weight
            for row in tables["item_weights"].to_pylist()
            for other, weight in zip(row["others"], row["weights"], strict=True)
        }
        pop = defaultdict(float)
        for _, item, time, kind in VISITS:
            pop[item] += (kind != "dislike") * 2 ** (-(self.now - time).total_seconds() / (30 * 86_400))
        self.warm = sorted(item for item in pop if pop[item])
        self.by_popularity = sorted(self.warm, key=lambda item: (-pop[item], item))

    def terms(self, source: str, user: str, item: int) -> dict[int, float]:
        """What each of the person's own items adds to the score."""
        own = {mine: time for mine, time in LIKED[user].items() if mine in self.warm}
        if self.items[source]:
            return self.shares(source, own, item)
        last = max(own.values(), default=None)
        fade = {mine: 2 ** (-(last - time).total_seconds() / BASKETS_HALVE_S) for mine, time in own.items()}
        by = fade if source == "baskets" else dict.fromkeys(own, 1.0)
        return {mine: by[mine] * self.weights.get((source, mine, item), 0.0) for mine in sorted(own)}

    def shares(self, source: str, own: dict[int, datetime], item: int) -> dict[int, float]:
        """Hu, Koren, Volinsky 2008, eq. 7, solved as a dense system over all items."""
        factors, options = self.items[source], self.chosen[source].options
        sure = dict.fromkeys(own, options["alpha"])
        if options.get("days"):
            ages = {mine: (self.now - time).total_seconds() / 86_400 for mine, time in own.items()}
            sure = {mine: 1 + options["alpha"] * 2 ** (-age / options["days"]) for mine, age in ages.items()}
        system = np.eye(len(factors[item]))
        for one, vector in factors.items():
            system += sure.get(one, 1) * np.outer(vector, vector)
        towards = np.linalg.solve(system, factors[item])
        return {mine: sure[mine] * (towards @ factors[mine]) for mine in own}

    def score(self, source: str, user: str, item: int) -> float:
        if self.items[source]:
            mine = self.users[source].get(user)
            return 0.0 if mine is None else float(mine @ self.items[source][item])
        # binary columns give many equal scores: added one by one in float32, they stay equal
        return float(sum(map(np.float32, self.terms(source, user, item).values()), np.float32(0)))

    def places(self, user: str, barred: set[int]) -> dict[str, list[int]]:
        """Of each source the items it has a score above 0 for, the best first."""
        shown = [item for item in self.warm if item not in barred]
        told = {name: {item: self.score(name, user, item) for item in shown} for name in self.chosen}
        return {
            name: sorted((item for item in shown if score[item] > 0), key=lambda item, s=score: (-s[item], item))
            for name, score in told.items()
        }

    def rank(self, user: str, barred: set[int]) -> list[tuple[int, str, float]]:
        """Item, source that placed it highest (the first of equals), and score from 1 down to ``LEAST``."""
        lists, found = self.places(user, barred), []
        for item in (item for item in self.warm if item not in barred):
            at_place = {name: told.index(item) for name, told in lists.items() if item in told}
            fused = sum(1 / (21 + place) for place in at_place.values())
            fused += 1 / (1_000 * (3 + self.by_popularity.index(item)))
            found.append((item, min(at_place, key=at_place.get, default="popular"), fused))
        high, low = (f(fused for *_, fused in found) for f in (max, min)) if found else (0, 0)
        found = [
            (item, SHOWN_AS.get(name, name), LEAST + (1 - LEAST) * (fused - low) / (high - low))
            for item, name, fused in found
        ]
        return sorted(found, key=lambda one: (-one[2], one[0]))


def compare(told: Told, wanted: list[tuple[int, str, float]]) -> None:
    assert [(item, source) for item, source, *_ in told] == [(item, source) for item, source, _ in wanted]
    np.testing.assert_allclose([score for *_, score in told], [score for *_, score in wanted], atol=1e-5)


@pytest.fixture(scope="module")
def oracle(world) -> Oracle:
    return Oracle(world)


# candidates


def test_everybody_who_likes_anything_and_lacks_something_is_ranked(world):
    assert set(ranked(world["candidates"])) == OWN.keys() - {"glutton", "sour"}


def test_candidates_are_ranked_by_the_places_in_all_sources(world, oracle):
    """Σ 1 / (21 + place) over the sources, of equals the more popular; nothing they dealt with, liked or not."""
    assert {"als", "als_fading", "ease", "walk_fading", "baskets"} <= oracle.chosen.keys()
    for user, told in ranked(world["candidates"]).items():
        compare(told, oracle.rank(user, OWN[user]))
    assert {told[0][3] for told in ranked(world["candidates"]).values()} == {1.0}
    lowest = {told[-1][3] for told in ranked(world["candidates"]).values()}
    assert lowest == {np.float32(LEAST)}


def test_reasons_are_the_greatest_terms_of_ones_own(world, oracle):
    """Of the source that is shown; where two are shown alike, of the one that placed the item higher."""
    n_checked = defaultdict(int)
    for user, told in ranked(world["candidates"]).items():
        lists = oracle.places(user, OWN[user])
        for item, source, reason, _ in told:
            if source == "popular":
                assert reason == -1
                continue
            voices = [name for name in oracle.chosen if SHOWN_AS.get(name, name) == source and item in lists[name]]
            terms = oracle.terms(min(voices, key=lambda name: lists[name].index(item)), user, item)
            assert terms[reason] == pytest.approx(max(terms.values()), rel=1e-4)
            assert reason in LIKED[user]
            n_checked[source] += 1
    assert n_checked.keys() >= {"als", "ease", "walk", "baskets"}
    assert "popular" in world["candidates"]["source"].to_pylist()


def test_who_the_fit_does_not_know_is_ranked_by_what_they_have(world):
    told = ranked(world["candidates"])
    assert {source for _, source, *_ in told["late"]} - {"popular"}
    assert "als" not in {source for _, source, *_ in told["late"]}  # no vector


def test_who_has_only_what_nobody_took_gets_what_is_popular(world, oracle):
    told = ranked(world["candidates"])["foreign"]
    assert [(item, source, reason) for item, source, reason, _ in told] == [
        (item, "popular", -1) for item in oracle.by_popularity
    ]


def test_rows_are_as_their_table_says(world):
    found = world["candidates"].to_pylist()
    assert len({(row["user_id"], row["source"]) for row in found}) == len(found)
    for row in found:
        assert 0 < len(row["items"]) == len(row["scores"]) == len(row["because_of"]) == len(set(row["items"]))
        assert row["scores"] == sorted(row["scores"], reverse=True)


def test_fewer_asked_are_the_head_of_more(world, quick):
    fewer = load_settings(candidates={"n_items": 20, "block_users": 16})
    short, long = ranked(propose(quick, world, settings=fewer)), ranked(world["candidates"])
    assert {user: told[:20] for user, told in long.items()} == short
    assert max(map(len, long.values())) > 20


def comparable(table: pa.Table) -> list[tuple]:
    """Rows in one order; scores to the precision that does not hang on who shares a block."""
    return sorted(
        (
            row["user_id"],
            row.get("source") or row["sources"],
            row["items"],
            row["because_of"],
            np.round(row["scores"], 4).tolist(),
        )
        for row in table.to_pylist()
    )


IN_SPARK = load_settings(
    candidates={"engine": "spark", "block_users": 16}, slates={"engine": "spark", "n_items": 10, "n_seen": 5}
)


@pytest.mark.parametrize("settings", [SETTINGS, IN_SPARK], ids=["threads", "spark"])
def test_row_order_partitions_and_the_engine_change_nothing(world, quick, settings):
    assert comparable(propose(quick, world, settings=settings, in_parts=7)) == comparable(world["candidates"])
    found = merge(quick, world, world["candidates"], settings=settings, in_parts=7)
    assert [row["seen"] for row in in_order(found)] == [row["seen"] for row in in_order(world["slates"])]
    assert comparable(found) == comparable(world["slates"])


def in_order(table: pa.Table) -> list[dict]:
    return table.sort_by("user_id").to_pylist()


@pytest.fixture(scope="module")
def tea_again(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "mine.toml"
    path.write_text("[rebuy]\ncategories = ['tea']\nafter_days = 0\n")
    return load_rules(path)


def test_what_is_bought_again_comes_back_and_nothing_else_of_ones_own(world, oracle, quick, tea_again):
    """Bought and of the category; what was viewed or disliked stays out."""
    found = ranked(propose(quick, world, tea_again))
    n_back = 0
    for user, told in found.items():
        back = {item for item in BOUGHT[user] if item % 2}
        compare(told, oracle.rank(user, OWN[user] - back))
        n_back += len(back & {item for item, *_ in told})
    assert n_back > 20


# who and what is new


FRENCH, YOUNG = (
    {"items": [5, 3, 8], "scores": [1.0, 0.5, 0.25]},
    {"country": None, "age_band": "20-29", "items": [9, 2], "scores": [1.0, 0.5]},
)
NEWCOMERS = {
    "new in FR": {"country": "FR"},
    "new in DE": {"country": "DE"},  # where no list is for
    "young": {"age_band": "20-29"},
    "young in FR": {"country": "FR", "age_band": "20-29"},
    "u00": {"country": "FR"},
    "sour": {"country": "FR"},
}


def test_who_likes_nothing_so_far_gets_the_list_of_their_very_kind(world, quick):
    """Unknown is a kind, too; whose kind has no list has none, and sour keeps off what they dislike."""
    tables = world | {
        "users": rows("users", *({"user_id": user} | known for user, known in NEWCOMERS.items())),
        "segment_lists": rows("segment_lists", FRENCH, YOUNG),
    }
    found = propose(quick, tables)
    lists = {row["user_id"]: row for row in found.to_pylist() if row["source"] == "segment"}
    assert {user: (row["items"], row["scores"]) for user, row in lists.items()} == {
        "new in FR": ([5, 3, 8], [1.0, 0.5, 0.25]),
        "sour": ([5, 3, 8], [1.0, 0.5, 0.25]),
        "young": ([9, 2], [1.0, 0.5]),
    }
    assert {tuple(row["because_of"]) for row in lists.values()} == {(-1, -1, -1), (-1, -1)}
    assert comparable(found.filter(pc.not_equal(found["source"], "segment"))) == comparable(world["candidates"])
    made = {row["user_id"]: row for row in merge(quick, tables, found).to_pylist()}
    assert (made["new in FR"]["items"], made["new in FR"]["seen"]) == ([5, 8], [])  # 3 is gone
    assert (made["young"]["items"], made["young"]["sources"]) == ([9, 2], ["segment", "segment"])
    assert (made["sour"]["items"], made["sour"]["seen"]) == ([5, 8], [2, 1, 0])


NEW, NEWER = UNHEARD + 1, UNHEARD + 2


def with_new(world, like: dict[int, dict[int, float]]) -> dict[str, pa.Table]:
    """The world with items nobody took, each with the likeness to others."""
    lists = [{"item_idx": new, "others": list(of), "weights": list(of.values())} for new, of in like.items()]
    names = (name_of(item) for item in range(NEWER + 1))
    return world | {"content_neighbors": rows("content_neighbors", *lists), "item_dictionary": dictionary(*names)}


def test_behind_what_the_recipe_ranks_stands_what_is_new_and_alike(world, quick):
    """Σ 2^(-weeks before one's last) · likeness; the reason is the greatest term."""
    like = {NEW: {1: 0.5, 4: 0.25}, NEWER: {4: 0.5, 6: 0.75, UNHEARD: 1.0}}  # what is not known to the fit says nothing
    before, found, n_checked = ranked(world["candidates"]), ranked(propose(quick, with_new(world, like))), 0
    for user, told in found.items():
        last = max(LIKED[user].values(), default=None)
        fade = {own: 2 ** (-(last - time).total_seconds() / BASKETS_HALVE_S) for own, time in LIKED[user].items()}
        terms = {new: {own: fade[own] * of[own] for own in fade.keys() & of} for new, of in like.items()}
        wanted = sorted((new for new in terms if terms[new]), key=lambda new, of=terms: -sum(of[new].values()))
        ranked_ones = before.get(user, [])  # glutton has nothing left but these
        assert told[: len(ranked_ones)] == ranked_ones
        behind = [(item, source, reason) for item, source, reason, _ in told[len(ranked_ones) :]]
        assert behind == [(new, "content", max(terms[new], key=terms[new].get)) for new in wanted], user
        n_checked += len(wanted)
    assert n_checked > 20


def test_what_is_new_is_not_proposed_to_who_has_dealt_with_it(world, quick):
    critic = next(user for user in LIKED if user[0] == "u" and 1 in LIKED[user])
    dislike = rows("interactions", {"user_id": critic, "item_idx": NEW, "weight_micro": 0})
    tables = with_new(world, {NEW: {1: 0.5}}) | {"interactions": pa.concat_tables([world["interactions"], dislike])}
    proposed = {user for user, told in ranked(propose(quick, tables)).items() if NEW in {item for item, *_ in told}}
    assert proposed == {user for user in LIKED if 1 in LIKED[user]} - {critic}


# slates


def test_slates_are_the_candidates_that_are_available(world):
    proposed = ranked(world["candidates"])
    found = {row["user_id"]: row for row in world["slates"].to_pylist()}
    assert found.keys() == proposed.keys()
    assert len(found) == world["slates"].num_rows
    for user, row in found.items():
        head = [one for one in proposed[user] if one[0] not in GONE][:10]
        columns = (row["items"], row["sources"], row["because_of"], row["scores"])
        assert list(zip(*columns, strict=True)) == head
        assert row["propensities"] == [1.0] * len(head)


def test_a_slate_gives_no_reason_only_where_nothing_the_user_did_is_one(world):
    n_reasons = 0
    for row in world["slates"].to_pylist():
        for source, reason in zip(row["sources"], row["because_of"], strict=True):
            assert (reason == -1) == (source in UNEXPLAINED)
            assert reason == -1 or reason in LIKED[row["user_id"]]
            n_reasons += reason >= 0
    assert n_reasons > 300


def test_what_was_seen_stands_beside_the_slate_newest_first(world, quick, tea_again):
    times = {(user, item): time for user, item, time, _ in VISITS}
    times |= {("late", item): time for item, time in LIKED["late"].items()} | {("foreign", UNHEARD): at(4)}
    again = merge(quick, world, world["candidates"], tea_again)
    for table, returns in ((world["slates"], False), (again, True)):
        for row in table.to_pylist():
            user = row["user_id"]
            mine = OWN[user] - {item for item in BOUGHT[user] if item % 2} if returns else OWN[user]
            assert row["seen"] == sorted(mine, key=lambda item, user=user: times[user, item], reverse=True)[:5]


def test_a_user_whose_proposals_are_all_gone_has_no_slate(world, quick):
    only_gone = rows("candidates", {"user_id": "u00", "items": [3, 7], "scores": [2.0, 1.0], "because_of": [0, 0]})
    assert merge(quick, world, only_gone).num_rows == 0


# other recipes


def test_a_recipe_without_factors_ranks_too(world, quick):
    tables = world | {"recipe": rows("recipe", {})}  # cosine alone
    tables |= fitted(tables)
    assert "als" not in tables["user_factors"]["source"].to_pylist()
    oracle = Oracle(tables)
    assert list(oracle.chosen) == ["cosine"]
    for user, told in ranked(propose(quick, tables)).items():
        compare(told, oracle.rank(user, OWN[user]))


def test_nothing_in_nothing_out(quick, world):
    empty = {name: table.slice(0, 0) for name, table in world.items()} | {"recipe": world["recipe"]}
    assert propose(quick, empty).num_rows == 0
    assert merge(quick, empty, empty["candidates"]).num_rows == 0
