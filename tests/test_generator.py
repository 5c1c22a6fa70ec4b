"""The generated shop: exact in its counts, the same for the same seed, consistent in its stories, and learnable."""

import argparse
import json
from collections import Counter
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from jobs import cli
from jobs import generate as job
from jobs.generate import generate
from jobs.generator import hidden
from jobs.generator.plan import Plan
from jobs.generator.trouble import BREAKAGES
from schemas.tables import KINDS

EVENT_FIELDS = ["event_id", "event_time", "kind", "user_id", "session_id", "item_id", "basket_id", "query", "value"]
EVENT_FIELDS += ["quantity", "price", "country", "device"]
HOUR_S = 3600.0


def lines(path):
    """Every line as an object, or as the bytes themselves where it is no JSON."""
    out = []
    for line in path.read_bytes().splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:
            out.append(line)
    return out


def seconds(text):
    return np.datetime64(text.removesuffix("Z")).astype("datetime64[ms]").astype(int) / 1000


def breakage(event):
    """What is wrong with a line, by the contract alone; None when nothing is."""
    if isinstance(event, bytes):
        return "unreadable"
    if event["kind"] not in KINDS:
        return "unknown_kind"
    if event.get("quantity", 1) < 0:
        return "negative_quantity"
    if event["kind"] != "search" and "item_id" not in event:
        return "missing_item"
    try:
        seconds(event["event_time"])
    except ValueError:
        return "bad_date"
    return None


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """One month of 20,000 rows: (folder, summary, sound events in the order of the file)."""
    out = tmp_path_factory.mktemp("shop")
    summary = generate(Plan(out, events=20_000))
    return out, summary, [event for event in lines(out / "events.jsonl") if breakage(event) is None]


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_same_seed_same_bytes_other_seed_other_data(tmp_path, form):
    plan = Plan(tmp_path / "a", events=2_000, days=3, format=form)
    generate(plan)
    generate(replace(plan, out=tmp_path / "b"))
    generate(replace(plan, out=tmp_path / "c", seed=8))
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert not [name for name in first if first[name] == other[name]]


@pytest.mark.parametrize(("events", "days"), [(1_000, 1), (1_000, 400), (4_321, 30), (20_000, 1)])
def test_exactly_the_rows_asked_for(tmp_path, events, days):
    summary = generate(Plan(tmp_path, events=events, days=days))
    found = lines(tmp_path / "events.jsonl")
    assert len(found) == summary["events"] == events
    assert sum(summary["kinds"].values()) + sum(summary["broken"].values()) == events
    times = [seconds(e["event_time"]) for e in found if breakage(e) is None]
    assert seconds(summary["start"]) <= min(times) == seconds(summary["first_event"])
    assert max(times) == seconds(summary["last_event"]) < seconds(summary["end"])


def test_the_summary_counts_what_is_in_the_file(shop):
    out, summary, sound = shop
    found = lines(out / "events.jsonl")
    assert Counter(filter(None, map(breakage, found))) == summary["broken"]
    assert set(summary["broken"]) == set(BREAKAGES)
    assert min(summary["broken"].values()) > 0
    copies = Counter(json.dumps(event) for event in sound)
    assert sum(n - 1 for n in copies.values()) == summary["duplicates"] > 0
    assert len({e["event_id"] for e in sound}) == len(sound) - summary["duplicates"]
    assert Counter(e["kind"] for e in sound) == summary["kinds"]
    assert set(summary["kinds"]) == set(KINDS)
    assert min(summary["kinds"].values()) > 0
    assert json.loads((out / "generated.json").read_bytes()) == summary


def test_rows_come_in_order_of_time_except_the_late_ones(shop):
    _, summary, sound = shop
    times = np.array([seconds(e["event_time"]) for e in sound])
    behind = np.maximum.accumulate(times) - times
    assert (behind > HOUR_S).sum() == summary["late"] > 50
    in_time = times[behind <= 60]  # a doubled row comes within the minute
    assert len(in_time) > 0.99 * len(times)


def test_sessions_are_anonymous_logged_in_or_first_one_then_the_other(shop):
    _, summary, sound = shop
    users = {}
    for event in sorted(sound, key=lambda e: e["event_time"]):
        users.setdefault(event["session_id"], []).append(event.get("user_id"))
    anonymous = sum(not any(names) for names in users.values())
    on_the_way = sum(any(names) and not all(names) for names in users.values())
    assert anonymous == summary["anonymous_sessions"] > 100
    assert on_the_way == summary["sessions_logged_in_on_the_way"] > 50
    for names in users.values():
        assert len(set(names) - {None}) <= 1
        assert names == sorted(names, key=lambda name: name is not None)  # nobody logs out again


def test_nothing_is_bought_unseen_or_returned_unbought(shop):
    _, _, sound = shop
    viewed, carted, bought = {}, {}, {}
    for event in sorted(sound, key=lambda e: (e["event_time"], KINDS.index(e["kind"]))):
        visit = (event["session_id"], event.get("item_id"))
        order = (event.get("user_id"), event.get("basket_id"), event.get("item_id"))
        match event["kind"]:
            case "view":
                viewed[visit] = True
            case "add_to_cart":
                assert visit in viewed
                carted[visit] = True
            case "purchase":
                assert visit in carted
                assert event["basket_id"]
                assert event["user_id"]
                bought[order] = event
            case "return":
                assert event["quantity"] <= bought[order]["quantity"]
    baskets = Counter(event["basket_id"] for event in bought.values())
    assert max(baskets.values()) > 1


def test_events_fit_the_items_and_users(shop):
    out, summary, sound = shop
    items, users = lines(out / "items.jsonl"), {u["user_id"]: u for u in lines(out / "users.jsonl")}
    created = {item["item_id"]: item["created_at"] for item in items}
    assert len(users) == summary["users"] == 400
    assert len(created) == summary["items"]
    assert summary["new_users"] == sum(u["valid_from"] >= "2026-01-01" for u in users.values()) > 0
    assert len({at[:10] for at in created.values() if at >= "2026-01-01"}) > 10
    latest = {item["item_id"]: item["available"] for item in sorted(items, key=lambda i: i["valid_from"])}
    assert list(latest.values()).count(False) == summary["out_of_stock_items"] > 0
    assert len({item["title"] for item in items}) == len(created)
    prices = {item["item_id"]: item["price"] for item in items}
    for event in sound:
        assert set(event) <= set(EVENT_FIELDS)
        if "item_id" in event:
            assert created[event["item_id"]] <= event["event_time"]
        if "user_id" in event:
            assert users[event["user_id"]]["valid_from"] <= event["event_time"]
            assert users[event["user_id"]]["country"] == event["country"]
        assert event.get("price") in (None, prices.get(event.get("item_id")))
        assert ("query" in event) == (event["kind"] == "search")


def test_what_is_searched_for_is_something_on_sale(shop):
    out, _, sound = shop
    vocabulary = {word for item in lines(out / "items.jsonl") for word in item["title"].lower().split()}
    queries = [event["query"] for event in sound if event["kind"] == "search"]
    assert len(set(queries)) > 100
    assert all(set(query.split()) <= vocabulary for query in queries)


def test_the_bot_comes_in_bursts_and_the_viral_item_has_its_day(shop):
    _, summary, sound = shop
    sound = list({event["event_id"]: event for event in sound}.values())
    bot = sorted(seconds(e["event_time"]) for e in sound if e.get("user_id") == summary["bot"]["user_id"])
    assert len(bot) == summary["bot"]["events"] > 200
    assert np.median(np.diff(bot)) < 1
    viral = summary["viral"]
    views = [e for e in sound if e["kind"] == "view" and e.get("user_id") != summary["bot"]["user_id"]]
    then = Counter(e["item_id"] for e in views if viral["from"] <= e["event_time"] < viral["until"])
    before = Counter(e["item_id"] for e in views if e["event_time"] < viral["from"])
    assert then.most_common(1)[0][0] == viral["item_id"]
    assert then[viral["item_id"]] / then.total() > 3 * before[viral["item_id"]] / before.total()


def test_evenings_are_busier_than_nights(shop):
    _, _, sound = shop
    by_hour = Counter(event["event_time"][11:13] for event in sound)
    assert by_hour["19"] > 5 * by_hour["03"]


def test_parquet_says_the_same_as_json_lines(tmp_path):
    plan = Plan(tmp_path / "json", events=3_000, days=5)
    summary = generate(plan)
    assert generate(replace(plan, out=tmp_path / "parquet", format="parquet")) == {**summary, "format": "parquet"}
    table = pq.read_table(tmp_path / "parquet" / "events-00000.parquet")
    assert table.column_names == EVENT_FIELDS
    for line, row in zip(lines(plan.out / "events.jsonl"), table.to_pylist(), strict=True):
        if isinstance(line, bytes):
            assert [name for name in EVENT_FIELDS if row[name] is not None] == ["event_id"]
            continue
        if breakage(line) == "bad_date":
            assert row.pop("event_time") is None
            del line["event_time"]
        else:
            row["event_time"] = row["event_time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert {name: value for name, value in row.items() if value is not None} == line
    for name in ("items", "users"):
        rows = pq.read_table(tmp_path / "parquet" / f"{name}.parquet").to_pylist()
        for row in rows:
            for moment in {"valid_from", "created_at"} & set(row):
                row[moment] = row[moment].strftime("%Y-%m-%dT%H:%M:%SZ")
        assert rows == lines(plan.out / f"{name}.jsonl")


def test_hidden_tastes_are_the_best_items_by_the_hidden_vectors(shop):
    out, summary, _ = shop
    tables = {path.stem: pq.read_table(path) for path in (out / "hidden").iterdir()}
    user = dict(zip(*(tables["user_vectors"][name].to_pylist() for name in ("user_id", "vector")), strict=True))
    item = dict(zip(*(tables["item_vectors"][name].to_pylist() for name in ("item_id", "vector")), strict=True))
    latest = {i["item_id"]: i["available"] for i in sorted(lines(out / "items.jsonl"), key=lambda i: i["valid_from"])}
    ids = sorted(name for name in item if latest[name])
    matrix = np.array([item[name] for name in ids], np.float32)
    best = {}
    for row in tables["tastes"].to_pylist():
        best.setdefault(row["user_id"], []).append((row["rank"], row["item_id"]))
    assert best.keys() == user.keys()
    assert len(best) == summary["users"] - 1  # all but the bot
    for name in list(best)[:50]:
        score = matrix @ np.array(user[name], np.float32)
        top = np.argsort(-score, kind="stable")[:20]
        assert best[name] == [(rank, ids[at]) for rank, at in enumerate(top, 1)]


def test_tastes_are_learnable_three_times_better_than_by_popularity(tmp_path):
    from implicit.als import AlternatingLeastSquares

    summary = generate(Plan(tmp_path, format="parquet"))
    events = pq.read_table(tmp_path / "events-00000.parquet").to_pandas()
    events = events[(events.kind == "view") & events.item_id.notna() & events.user_id.notna()]
    events = events[events.user_id != summary["bot"]["user_id"]]
    tastes = pq.read_table(tmp_path / "hidden" / "tastes.parquet").to_pandas()
    users, items = sorted(set(events.user_id)), sorted(set(events.item_id) | set(tastes.item_id))
    user_at, item_at = ({name: at for at, name in enumerate(names)} for names in (users, items))
    shape = (len(users), len(items))
    pairs = (events.user_id.map(user_at), events.item_id.map(item_at))
    counts = sp.csr_matrix((np.ones(len(events), np.float32), pairs), shape)
    tastes = tastes[tastes.user_id.isin(user_at)]
    truth = np.zeros(shape, bool)
    truth[tastes.user_id.map(user_at), tastes.item_id.map(item_at)] = True
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(factors=32, iterations=10, alpha=5, random_state=0, num_threads=1)
        model.fit(counts, show_progress=False)
        scores = model.user_factors @ model.item_factors.T
    popularity = np.tile((counts > 0).sum(axis=0).A1, (len(users), 1))
    assert recall_at_20(scores, truth) > 3 * recall_at_20(popularity, truth)
    unseen = counts.toarray() == 0
    fresh = [recall_at_20(np.where(unseen, s, -np.inf), truth & unseen) for s in (scores, popularity)]
    assert fresh[0] > 3 * fresh[1] > 0


def recall_at_20(scores, truth):
    top = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    wanted = truth.sum(axis=1)
    found = np.take_along_axis(truth, top, axis=1).sum(axis=1)
    return (found[wanted > 0] / wanted[wanted > 0]).mean()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--events", "0", "1,000 to 100,000,000"),
        ("--events", "1000000000", "1,000 to 100,000,000"),
        ("--users", "0", "10 to 5,000,000"),
        ("--items", "3", "20 to 1,000,000"),
        ("--days", "0", "1 to 1,096"),
        ("--seed", "-1", "0 or a positive"),
        ("--format", "csv", "jsonl, parquet"),
        ("--start", "yesterday", "2026-01-01"),
        ("--start", "1969-12-31", "1970-01-01 to 2200-12-31"),
        ("--end", "0001-01-02", "1970-01-31"),
    ],
)
def test_a_bad_argument_is_named_with_what_is_allowed(tmp_path, option, value, allowed):
    with pytest.raises(ValueError, match=value.lstrip("-")) as error:
        job.main(parsed("--out", str(tmp_path / "new"), option, value))
    assert allowed in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_bad_argument_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert cli.main(["generate", "--out", str(tmp_path), "--events", "0"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "nightshelf: --events is 0; give a whole number from 1,000 to 100,000,000\n"


def parsed(*words):
    parser = argparse.ArgumentParser()
    job.add_arguments(parser)
    return parser.parse_args(words)


def test_the_command_prints_the_summary(tmp_path, capsys):
    words = ("--out", str(tmp_path), "--events", "1000", "--end", "2025-03-01", "--days", "2")
    assert cli.main(["generate", *words]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["start"] == "2025-02-27T00:00:00.000Z"
    assert summary["end"] == "2025-03-01T00:00:00.000Z"
    assert job.plan_of(parsed("--out", "x", "--start", "2024-02-29")).start == date(2024, 2, 29)


def test_only_an_earlier_set_is_replaced(tmp_path):
    plan = Plan(tmp_path / "out", events=1_000, days=2, format="parquet")
    generate(plan)
    generate(replace(plan, format="jsonl"))
    names = sorted(path.name for path in plan.out.iterdir())
    assert names == ["events.jsonl", "generated.json", "hidden", "items.jsonl", "users.jsonl"]
    (plan.out / "notes.txt").write_text("mine")
    before = contents(plan.out)
    with pytest.raises(ValueError, match=r"notes\.txt.*empty or new folder"):
        generate(replace(plan, seed=9))
    assert contents(plan.out) == before


def test_somebody_elses_events_are_not_taken_for_ours(tmp_path):
    (tmp_path / "events.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"events\.jsonl.*no generated set"):
        generate(Plan(tmp_path, events=1_000))
    with pytest.raises(ValueError, match="is a file"):
        generate(Plan(tmp_path / "events.jsonl", events=1_000))
    assert contents(tmp_path) == {"events.jsonl": b"{}\n"}


def test_a_failure_half_way_leaves_the_earlier_set(tmp_path, monkeypatch):
    plan = Plan(tmp_path, events=1_000, days=2)
    generate(plan)
    before = contents(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hidden, "tastes", full)
    with pytest.raises(OSError, match="No space left"):
        generate(replace(plan, seed=9))
    assert contents(tmp_path) == before
