"""The operator's commands on a real Redis and a lake with three nights: list, roll back, pin, reload, keep."""

import re
from datetime import timedelta

import pytest
from committed import commit
from lake_fixtures import NIGHT, rows, small_lake
from redis_fixture import module_server  # noqa: F401
from redis_server import RedisServer

from conf.settings import load_settings
from jobs import cli
from jobs.rim.lineage import MAKERS, Lineage
from jobs.rim.manifest import iso
from jobs.rim.redis_release import Lease, read_release
from jobs.rim.verdict import Verdict, write_verdict
from schemas.keys import Keys, tag_of

KEYS = Keys("test")
NIGHTS = [NIGHT + timedelta(days=k) for k in range(5)]
SURFACES = ["for_you", "similar", "trending"]
TABLES = {  # rows by what the night has to say
    "slates": lambda k: [{"user_id": f"{user:032x}", "items": [k % 3]} for user in range(25)],
    "item_neighbors": lambda k: [{"item_idx": 0, "neighbor_idx": 1 + k % 2}],
    "content_neighbors": lambda k: [],
    "trending": lambda k: [{"item_idx": k % 3}],
}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """The folder of a lake in which five nights are computed and judged; nothing is published."""
    folder = tmp_path_factory.mktemp("stocked")
    lake = small_lake(folder, items=[{"item_id": name, "title": name.upper()} for name in "abc"])
    for number, night in enumerate(NIGHTS):
        lineage = Lineage(lake, settings_of(folder, ""), night)
        for table, content in TABLES.items():
            commit(lineage, table, rows(table, *content(number)))
            write_verdict(Verdict(table, lineage.version(MAKERS[table]), True, {}, []), lineage)
    return folder


def settings_of(folder, url):
    lake = {"uri": str(folder / "lake"), "min_free_mb": 0}
    publish = {"pipeline_keys": 10, "lease_s": 5}
    redis = {"url": url or "unix://nowhere.sock", "namespace": "test"}
    return load_settings(lake=lake, publish=publish, redis=redis, identity={"secret": "a secret of the tests"})


class Shop:
    """Commands on that lake and this Redis, as one types them."""

    def __init__(self, client, capsys):
        self.client, self.capsys = client, capsys

    def run(self, *argv: str, code: int = 0) -> str:
        found = cli.main(list(argv))
        said = self.capsys.readouterr()
        assert found == code, said.out + said.err
        return said.err if code else said.out

    def publish(self, number: int, *surfaces: str, **options) -> dict[str, str]:
        """Publish a night; gives the generation that is live by surface."""
        self.run("publish", "--surfaces", *(surfaces or SURFACES), "--as-of", iso(NIGHTS[number]), **options)
        return self.live()

    def release(self):
        return read_release(self.client, KEYS)

    def live(self) -> dict[str, str]:
        return {name.partition("/")[0]: entry.base for name, entry in self.release().surfaces.items()}

    def slate(self) -> bytes:
        """The first person's live one, packed."""
        return self.client.get(KEYS.slate(f"{0:032x}", self.release().live("for_you").tag))


@pytest.fixture
def shop(stocked, server, monkeypatch, capsys):
    history = ["releases", "generations"]
    for folder in history:
        for path in (stocked / "lake" / folder).rglob("*.json"):
            path.unlink()
    variables = {
        "LAKE__URI": str(stocked / "lake"),
        "LAKE__MIN_FREE_MB": "0",
        "REDIS__URL": server.url,
        "REDIS__NAMESPACE": "test",
        "PUBLISH__PIPELINE_KEYS": "10",
        "PUBLISH__LEASE_S": "5",
        "IDENTITY__SECRET": "a secret of the tests",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"NIGHTSHELF_{name}", value)
    with server.client() as client:
        client.flushall()
        yield Shop(client, capsys)


def test_back_twice_and_forth_again(shop):
    nights, slates = [], []
    for number in range(3):
        nights.append(shop.publish(number))
        slates.append(shop.slate())
    assert len(set(slates)) == 3
    said = shop.run("rollback", "--surface", "for_you")
    assert said.splitlines()[0] == (
        f"for_you/control: {nights[1]['for_you']} is live instead of {nights[2]['for_you']}"
    )
    assert said.splitlines()[1] == "release 4 is live"
    assert (shop.live(), shop.slate()) == (nights[2] | {"for_you": nights[1]["for_you"]}, slates[1])
    shop.run("rollback", "--surface", "for_you")
    assert (shop.live()["for_you"], shop.slate()) == (nights[0]["for_you"], slates[0])
    assert "Redis keeps nothing older than" in shop.run("rollback", "--surface", "for_you", code=2)
    shop.run("rollback", "--to", nights[2]["for_you"])
    assert (shop.live(), shop.release().epoch) == (nights[2], 6)


def test_without_a_surface_all_that_can_go_back(shop):
    first = shop.publish(0)
    shop.publish(1, "for_you", "trending")
    shop.run("rollback")
    assert shop.live() == first
    assert "no surface has anything older" in shop.run("rollback", code=2)


def test_after_a_rollback_the_next_night_goes_live_and_the_same_night_does_not(shop):
    nights = [shop.publish(k) for k in range(2)]
    shop.run("rollback", "--surface", "for_you")
    said = shop.run("publish", "--surfaces", "for_you", "--as-of", iso(NIGHTS[1]))
    assert f"not published: {nights[1]['for_you']} was rolled back from" in said
    assert shop.live()["for_you"] == nights[0]["for_you"]
    shop.run("publish", "--generation", nights[1]["for_you"])  # its name is an order
    assert shop.live() == nights[1]
    shop.run("rollback", "--surface", "for_you")
    assert shop.publish(2)["for_you"] not in (nights[0]["for_you"], nights[1]["for_you"])


def test_a_pinned_one_stays_live_until_unpinned(shop):
    nights = [shop.publish(k) for k in range(2)]
    shop.run("rollback", "--surface", "for_you", "--pin")
    assert shop.release().pinned == (nights[0]["for_you"],)
    assert "is pinned: `nightshelf unpin" in shop.run("rollback", "--to", nights[1]["for_you"], code=2)
    after = shop.publish(2)
    assert (after["for_you"], after["trending"] != nights[1]["trending"]) == (nights[0]["for_you"], True)
    assert "is pinned" in shop.run("publish", "--generation", nights[1]["for_you"])
    assert "the next publish replaces it" in shop.run("unpin", nights[0]["for_you"])
    assert shop.publish(2)["for_you"] != nights[0]["for_you"]


def test_a_pin_outlives_redis(shop):
    first = shop.publish(0)
    shop.run("pin", first["for_you"])
    shop.client.flushall()
    assert shop.publish(1)["for_you"] == first["for_you"]
    assert shop.release().pinned == (first["for_you"],)


def test_a_pinned_one_that_is_not_live_stays_kept(shop):
    nights, slate = [shop.publish(0)], shop.slate()
    shop.run("pin", nights[0]["for_you"])
    shop.run("unpin", nights[0]["for_you"])
    nights.append(shop.publish(1))
    assert "stays in Redis until" in shop.run("pin", nights[0]["for_you"])
    nights += [shop.publish(k) for k in (2, 3, 4)]
    kept = shop.release().kept()
    assert nights[0]["for_you"] in kept
    assert nights[1]["for_you"] not in kept
    assert nights[0]["similar"] not in kept
    shop.run("rollback", "--to", nights[0]["for_you"])
    assert shop.slate() == slate


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["rollback", "--to", "yesterday"], "allowed: <surface>-<YYYYMMDDTHHMMSSZ>-<12 hex digits>"),
        (["rollback", "--to", "similar-20260101T000000Z-0123456789ab", "--surface", "for_you"], "is of similar, not"),
        (
            ["rollback", "--to", "for_you-20260101T000000Z-0123456789ab"],
            "`nightshelf publish --generation for_you-2026",
        ),
        (["rollback", "--surface", "bought_together"], "bought_together/control is not live"),
        (["pin", "for_you-20260101T000000Z-0123456789ab"], "is neither live nor kept"),
        (["unpin", "for_you-20260101T000000Z-0123456789ab"], "is not pinned; pinned are: none"),
        (["publish", "--generation", "for_you-20260101T000000Z-0123456789ab"], "`nightshelf generations` lists them"),
        (["publish", "--generation", "../batches/0000000001"], "no generation"),
        (["publish", "--generation", "FIRST", "SECOND"], "two generations of one surface"),
        (["publish", "--surfaces", "for_you"], "--surfaces goes with --as-of"),
        (["publish", "--generation", "x", "--as-of", iso(NIGHT)], "--surfaces goes with --as-of"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_and_changes_nothing(shop, argv, told):
    named = dict(zip(("FIRST", "SECOND"), (shop.publish(k)["for_you"] for k in range(2)), strict=True))
    before = shop.client.get(KEYS.live)
    said = shop.run(*(named.get(word, word) for word in argv), code=2)
    assert told in said
    assert said.count("\n") == 1
    assert shop.client.get(KEYS.live) == before


@pytest.mark.parametrize("argv", [["rollback"], ["pin", "for_you-20260101T000000Z-0123456789ab"]])
def test_nothing_published_is_told(shop, argv):
    assert "nothing is live in this Redis: `nightshelf publish` first" in shop.run(*argv, code=2)


def test_back_to_a_generation_without_keys_is_refused_and_the_lake_reloads_it(shop):
    nights, slate = [shop.publish(0)], shop.slate()
    nights.append(shop.publish(1))
    goal = nights[0]["for_you"]
    shop.client.delete(KEYS.slate(f"{0:032x}", tag_of(goal)))
    assert f"`nightshelf publish --generation {goal}` loads it" in shop.run("rollback", "--surface", "for_you", code=2)
    assert shop.live() == nights[1]
    said = shop.run("publish", "--generation", goal)
    assert re.search(rf"for_you: {goal}: \d+ keys", said)
    assert (shop.live()["for_you"], shop.slate()) == (goal, slate)
    assert shop.release().catalogue.as_of == iso(NIGHTS[1])  # titles stay the newest
    assert shop.publish(2)["for_you"] != goal


def test_back_to_pseudonyms_of_another_secret_is_refused(shop, monkeypatch):
    shop.publish(0)
    monkeypatch.setenv("NIGHTSHELF_IDENTITY__KEY_VERSION", "2")
    shop.publish(1)
    assert "knows people by secret 1, live is 2" in shop.run("rollback", "--surface", "for_you", code=2)


def test_a_rollback_does_not_wait_for_a_publisher_nor_lose_to_it(shop):
    nights = [shop.publish(k) for k in range(2)]
    lease = Lease(shop.client, KEYS, 60)
    assert lease.try_acquire()
    shop.run("rollback")
    assert shop.live() == nights[0]
    lease.renew()  # the publisher goes on, and switches from what is live by then


def test_a_rollback_goes_on_without_a_lake_to_write_to(shop, monkeypatch):
    nights = [shop.publish(k) for k in range(2)]
    monkeypatch.setattr("jobs.rim.history.History.claim", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
    assert "warning: not written down in the lake" in shop.run("rollback")
    assert shop.live() == nights[0]


def test_an_emptied_redis_is_filled_out_of_the_lake_by_whoever_publishes_next(shop, monkeypatch):
    """Also the surfaces nobody asked for, and their catalogue, without computing: no run is even looked up."""
    shop.publish(0)
    nights, slate = shop.publish(1), shop.slate()
    shop.client.flushall()
    monkeypatch.setattr("jobs.rim.runner.run_steps", lambda *_: pytest.fail("computed"))
    after = shop.publish(2, "trending")
    assert {name: after[name] for name in ("for_you", "similar")} == {
        name: nights[name] for name in ("for_you", "similar")
    }
    assert (shop.release().epoch, shop.slate()) == (3, slate)
    assert shop.release().catalogue.as_of == iso(NIGHTS[2])
    assert "3 live, 0 kept besides" in shop.run("keep", "--whole")


def test_a_backfill_into_an_emptied_redis_does_not_go_back(shop):
    nights = [shop.publish(k) for k in range(3)]
    shop.client.flushall()
    assert shop.publish(1, "for_you") == nights[2]


def test_what_lost_its_keys_is_loaded_by_whoever_publishes_next(shop):
    nights = shop.publish(0)
    shop.client.delete(KEYS.neighbors(0, tag_of(nights["similar"])))
    said = shop.run("publish", "--surfaces", "trending", "--as-of", iso(NIGHTS[1]))
    assert f"similar: the keys of {nights['similar']} are gone from Redis: loading it again" in said
    assert shop.client.exists(KEYS.neighbors(0, tag_of(nights["similar"])))


def test_a_lost_catalogue_is_loaded_again(shop):
    shop.publish(0)
    wanted = shop.release().catalogue
    shop.client.delete(KEYS.catalogue(wanted.sha, 0))
    assert "catalogue" in shop.run("keep", code=75)
    shop.publish(0)
    assert shop.client.exists(KEYS.catalogue(shop.release().catalogue.sha, 0))
    shop.run("keep")


def test_files_that_left_the_lake_are_told_before_anything_is_loaded(shop, stocked):
    nights = shop.publish(0)
    (path,) = (stocked / "lake/slates").rglob("as_of=20260111T000000Z/**/*.parquet")
    moved = path.rename(path.with_suffix(".away"))
    try:
        shop.client.flushall()
        said = shop.run("publish", "--generation", nights["for_you"], code=75)
        assert "is not in the lake any more (1 of 1 files)" in said
        after = shop.publish(0, "trending")  # the others come back all the same
        assert set(after) == {"similar", "trending"}
    finally:
        moved.rename(path)


MASKS = (
    (r"\b[0-9a-f]{12}\b", "ID"),
    (r"(?<![.\d])\d+ (min|h|days)\b", "AGE"),
    (r" +", " "),
    (r"\b\d+ \d+ B\b", "KEYS SIZE"),
    (r"\S+Z$", "MOMENT"),
)


def test_generations_are_listed_with_what_one_can_do(shop):
    nights = [shop.publish(k) for k in range(4)]
    shop.run("rollback", "--surface", "for_you", "--pin")
    shop.client.delete(KEYS.slate(f"{0:032x}", tag_of(nights[1]["for_you"])))
    said = shop.run("generations").splitlines()
    assert len({line.index(" 2026-") for line in said[2:]}) == 1, "columns are aligned"
    for pattern, word in MASKS:
        said = [re.sub(pattern, word, line) for line in said]
    assert said[:7] == [
        "release 5, live since MOMENT",
        "surface generation as of age keys size ttl left state",
        "for_you for_you-20260114T000000Z-ID 2026-01-14 00:00 AGE KEYS SIZE 30.0 days kept",
        "for_you for_you-20260113T000000Z-ID 2026-01-13 00:00 AGE KEYS SIZE 30.0 days live, pinned",
        "for_you for_you-20260112T000000Z-ID 2026-01-12 00:00 AGE KEYS SIZE 30.0 days kept, lacks keys",
        "for_you for_you-20260111T000000Z-ID 2026-01-11 00:00 AGE in the lake",
        "similar similar-20260114T000000Z-ID 2026-01-14 00:00 AGE KEYS SIZE 30.0 days live",
    ]
    assert len(shop.run("generations", "--last", "0").splitlines()) == len(said) - 3


def test_generations_of_an_empty_redis_are_what_the_lake_can_load(shop):
    shop.publish(0)
    shop.client.flushall()
    said = shop.run("generations").splitlines()
    assert said[0] == "nothing is live"
    assert [line.rpartition("  ")[2] for line in said[2:]] == ["in the lake"] * 3


def test_generations_the_lake_can_load_are_listed_with_redis_away(shop, monkeypatch):
    shop.publish(0)
    monkeypatch.setenv("NIGHTSHELF_REDIS__URL", "unix://nowhere.sock")
    assert cli.main(["generations"]) == 75
    said = shop.capsys.readouterr()
    assert said.out.splitlines()[0] == "Redis does not say what is live; the lake can load"
    assert said.out.count("in the lake") == 3
    assert said.err.startswith("nightshelf: Redis at unix://nowhere.sock cannot be reached")


def test_keep_renews_what_nears_its_end_and_removes_what_is_left_over(shop):
    nights = shop.publish(0)
    for key in [*shop.client.keys("test:{[ui]:*"), *shop.client.keys("test:{cat:*")]:
        shop.client.expire(key, 10 * 86_400)
    shop.client.expire(KEYS.index(tag_of(nights["for_you"]), 2), 10 * 86_400)
    shop.client.hset(KEYS.loads, "for_you-20260101T000000Z-0123456789ab", '{"state": "loading"}')
    said = shop.run("keep")
    assert f"{nights['for_you']}: renewed for 30 days" in said
    assert "for_you-20260101T000000Z-0123456789ab: removed" in said
    assert "catalogue" in said
    assert f"{nights['similar']}: renewed" not in said  # its list of keys had its time
    renewed = [*shop.client.keys("test:{u:*"), *shop.client.keys("test:{cat:*")]
    assert min(shop.client.ttl(key) for key in renewed) > 26 * 86_400
    assert shop.run("keep").splitlines() == ["release 1: 3 live, 0 kept besides"]


def test_keep_alarms_about_what_is_live_and_warns_of_what_is_kept(shop):
    nights = [shop.publish(k) for k in range(2)]
    shop.client.delete(KEYS.slate(f"{12:032x}", tag_of(nights[0]["for_you"])))
    shop.client.delete(KEYS.slate(f"{12:032x}", tag_of(nights[1]["for_you"])))
    assert "3 live" in shop.run("keep")  # it looks at the first and last keys
    said = shop.run("keep", "--whole", code=75)
    assert f"{nights[1]['for_you']} is live and lacks keys: `nightshelf publish --generation" in said
    assert nights[0]["for_you"] not in said


def test_keep_alarms_about_an_empty_redis_but_not_before_the_first_publish(shop):
    assert shop.run("keep") == "nothing was ever published: `nightshelf publish` does it\n"
    nights = shop.publish(0)
    shop.client.flushall()
    said = shop.run("keep", code=75)
    assert all(name in said for name in nights.values())
    command = re.search(r"`nightshelf (publish --generation [^`]+)`", said)[1]
    shop.run(*command.split())
    assert shop.live() == nights


def test_keep_leaves_a_load_in_progress_alone(shop):
    shop.publish(0)
    shop.client.hset(KEYS.loads, "for_you-20260101T000000Z-0123456789ab", '{"state": "loading"}')
    lease = Lease(shop.client, KEYS, 60)
    assert lease.try_acquire()
    assert "a publisher is at work" in shop.run("keep")
    assert shop.client.hexists(KEYS.loads, "for_you-20260101T000000Z-0123456789ab")


def test_further_targets_get_the_same_and_one_that_fails_stops_no_other(shop, monkeypatch):
    second = RedisServer().start()
    try:
        monkeypatch.setenv("NIGHTSHELF_PUBLISH__TARGETS", f'["redis://me:hidden@127.0.0.1:1/0", "{second.url}"]')
        said = shop.run("publish", "--surfaces", "trending", "--as-of", iso(NIGHTS[0]), code=75)
        assert said.startswith("nightshelf: 1 of 3 targets failed: Redis at redis://127.0.0.1:1/0 cannot be reached")
        assert "hidden" not in said
        with second.client() as client:
            there = read_release(client, KEYS)
        assert there.surfaces == shop.release().surfaces
        assert there.epoch > shop.release().epoch  # an epoch is used once
        monkeypatch.setenv("NIGHTSHELF_PUBLISH__TARGETS", f'["{second.url}"]')
        shop.publish(1, "trending")
        said = shop.run("rollback")
        assert [line.partition(": ")[0] for line in said.splitlines()[::2]] == [
            line.partition(": ")[0] for line in said.splitlines()[1::2]
        ]
        with second.client() as client:
            assert read_release(client, KEYS).surfaces == shop.release().surfaces == there.surfaces
    finally:
        second.close()
