"""Break the code in stated ways and see whether the tests notice: ``python tests/mutate.py [NAME ...]``.

Each mutation is applied to a copy of the project; its tests must then fail. Not collected by pytest: it runs pytest.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).absolute().parents[1]
COPIED = ("benchmarks", "conf", "dags", "deploy", "jobs", "schemas", "serving", "tests")


class Mutation(NamedTuple):
    """Replace ``old``, found once in ``file``, by ``new``; the tests named must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = (
    Mutation(
        "files a task maps count as memory it holds",
        "jobs/rim/memory.py",
        '(pages["Pss:"] - pages.get("Pss_File:", 0))',
        'pages["Pss:"]',
        "test_shared.py",
    ),
    Mutation(
        "who writes into what tasks share writes for all",
        "jobs/kernels/shared_spark.py",
        "access=mmap.ACCESS_COPY",
        "access=mmap.ACCESS_READ",
        "test_shared.py -k writes",
    ),
    Mutation(
        "of four others the last is left out of a step of ALS",
        "jobs/kernels/als.py",
        "third * three[at] + fourth * four[at]\n    for cell in",
        "third * three[at]\n    for cell in",
        "test_als.py",
    ),
    Mutation(
        "a long row of ALS looks at its first tile again",
        "jobs/kernels/als.py",
        "if len(own) > NEAR:",
        "if False:",
        "test_als.py",
    ),
    Mutation(
        "an item is like itself",
        "jobs/kernels/item_values.py",
        "if others[row] != item and not",
        "if not",
        "test_item_values.py",
    ),
    Mutation(
        "a list of an item names another twice",
        "jobs/kernels/item_values.py",
        "if neighbors[row] != item and not holds(chosen, n, neighbors[row]):",
        "if neighbors[row] != item:",
        "test_item_values.py",
    ),
    Mutation(
        "let memory grow",
        "jobs/rim/memory.py",
        "if self._above >= PATIENCE:",
        "if False:",
        "test_memory.py",
    ),
    Mutation(
        "the warm store's users by the wrong side of the moment",
        "jobs/kernels/lately.py",
        "pc.greater_equal(",
        "pc.greater(",
        "test_warm.py -k over_http",
    ),
    Mutation(
        "rows of the warm store read back by nobody",
        "jobs/rim/warm.py",
        "wrong = sum(found.get(user) != value for user, value in self.sample.items())",
        "wrong = 0",
        "test_warm.py -k takes_nothing",
    ),
    Mutation(
        "what DynamoDB does not take is forgotten",
        "jobs/rim/warm_table.py",
        'return answer.get("UnprocessedItems", {}).get(self.name, [])',
        "return []",
        "test_warm.py -k sent_again",
    ),
    Mutation(
        "warm rows written whether they are there or not",
        "jobs/rim/warm.py",
        "if before and before.n_warm == n_rows and",
        "if False and",
        "test_warm.py -k lost_redis",
    ),
    Mutation(
        "one tag for all generations in the warm store",
        "schemas/warm.py",
        '{USER: {"S": user}, TAG: {"S": tag}}',
        '{USER: {"S": user}, TAG: {"S": "tag"}}',
        "test_warm.py -k never_mix",
    ),
    Mutation(
        "a warm read waits whatever the deadline",
        "serving/warm.py",
        "left = min(self.timeout_s, deadline.at - began - ANSWER_S)",
        "left = self.timeout_s",
        "test_warm.py -k deadline",
    ),
    Mutation(
        "warm threads without end",
        "serving/warm.py",
        "if not self._free.acquire(blocking=False):",
        "if False:",
        "test_warm.py -k hang",
    ),
    Mutation(
        "unknown users asked for again and again",
        "serving/warm.py",
        "return self.absent.get(key, 0.0) > time.monotonic()",
        "return False",
        "test_warm.py -k asked_for_once",
    ),
    Mutation(
        "warm rows near their end are well",
        "jobs/rim/warm_part.py",
        "LOW = 1 / 4",
        "LOW = 0",
        "test_warm.py -k near",
    ),
    Mutation(
        "a list put back shortens the life of what Redis has",
        "serving/reader.py",
        "ex=seconds, nx=True)",
        "ex=seconds)",
        "test_warm.py -k back_is_in_redis",
    ),
    Mutation(
        "vectors of nobody but those read",
        "jobs/kernels/als_folded.py",
        "kept &= (who >= len(until_us)) | (when < held)",
        "kept &= who < len(until_us)",
        "test_engines.py -k share_of_the_users",
    ),
    Mutation(
        "seen items overlooked by the gate",
        "jobs/kernels/statistics.py",
        "owned += marks[item] & BARRED != 0",
        "owned += 0",
        "test_kernels.py",
    ),
    Mutation(
        "show MLlib what is withheld",
        "jobs/kernels/weighing.py",
        "from_time is null or event_time < from_time",
        "true",
        "test_engines.py -k held",
    ),
    Mutation(
        "one share of users for each part",
        "jobs/kernels/positives.py",
        "kept = pd.util.hash_array(texts.astype(object)) < share * 2**64",
        "kept = np.arange(len(texts)) < share * len(texts)",
        "test_engines.py -k part",
    ),
    Mutation(
        "leave the code with the driver",
        "jobs/rim/spark_session.py",
        "session.sparkContext.addPyFile(str(write_archive(FOLDER.absolute())))",
        "pass",
        "test_cluster.py",
    ),
    Mutation(
        "leave the keys with the driver",
        "jobs/rim/spark_session.py",
        "hand_on_credentials(session, settings)\n",
        "\n",
        "test_cluster.py",
    ),
    Mutation(
        "drop uploads of other tables too",
        "jobs/rim/s3_store.py",
        "paginate(Bucket=self.bucket, Prefix=below)",
        "paginate(Bucket=self.bucket, Prefix=self.prefix)",
        "test_store.py",
    ),
    Mutation(
        "show again what was seen and not liked",
        "jobs/kernels/recipe/candidates.py",
        "barred = people.user_items if barred is None else barred",
        "barred = people.user_items",
        "test_stored.py",
    ),
    Mutation(
        "swap rank order",
        "jobs/kernels/recipe/ranker.py",
        "compiled_for(part.user, part.item, -scores)",
        "compiled_for(part.user, part.item, scores)",
        "test_recipe.py",
    ),
    Mutation(
        "fit what is withheld",
        "jobs/kernels/recipe/probes.py",
        "keep[order[tail[one] : begins[one + 1]]] = False",
        "keep[order[tail[one] : begins[one + 1]]] = True",
        "test_fit.py",
    ),
    Mutation(
        "withhold another day than the last",
        "jobs/kernels/recipe/probes.py",
        "day[tail[user] - 1] == day[begins[user + 1] - 1]",
        "day[tail[user] - 1] >= day[begins[user + 1] - 1] - 1",
        "test_fit.py",
    ),
    Mutation(
        "pseudonyms decide the order of users",
        "jobs/kernels/positives.py",
        "place = np.argsort(content_order(user, item, time_us, len(user_ids)))",
        "place = np.arange(len(user_ids))",
        "test_positives.py",
    ),
    Mutation(
        "a recipe learned anew every night",
        "jobs/rim/lineage.py",
        "begin = self.as_of - (self.as_of - EPOCH) % timedelta(days=days)",
        "begin = self.as_of",
        "test_lineage.py",
    ),
    Mutation(
        "the weakest neighbor as reason",
        "jobs/kernels/recipe/reasons.py",
        "values[at] * weights[cell] > best[row]",
        "values[at] * weights[cell] > 0",
        "test_candidates_slates.py -k reasons",
    ),
    Mutation(
        "newcomers of one country get another's list",
        "jobs/candidates.py",
        "pc.index_in(table[name], values), -1",
        "pc.index_in(table[name], values), 0",
        "test_candidates_slates.py -k kind",
    ),
    Mutation(
        "flip without verifying",
        "jobs/rim/redis_writer.py",
        "        self.verify(generation, receipts)\n",
        "",
        "test_publish.py",
    ),
    Mutation("ignore the gate", "jobs/rim/shelf.py", "if not verdict.passed:", "if False:", "test_shelf.py"),
    Mutation("publish what was not judged", "jobs/rim/shelf.py", "if verdict is None:", "if False:", "test_shelf.py"),
    Mutation(
        "lose late events",
        "jobs/rim/batch_log.py",
        "            for batch in batches\n            for file in batch.files.get(table, ())",
        "            for batch in batches[:1]\n            for file in batch.files.get(table, ())",
        "test_lake.py test_runner.py test_lineage.py",
    ),
    Mutation(
        "remove what is still written to",
        "jobs/rim/garbage.py",
        "youngest[attempt_of(one.key)] < before]",
        "one.modified < before]",
        "test_tidy.py -k written_to",
    ),
    Mutation(
        "read merged files whatever the snapshot",
        "jobs/rim/batch_log.py",
        "for batch in made.batches[snapshot:]",
        "for batch in made.batches[len(made.batches) :]",
        "test_tidy.py -k changes_nothing",
    ),
    Mutation(
        "one version with and without the bad day",
        "jobs/rim/sight.py",
        "return [batch.batch_id, hours] if hours else batch.batch_id",
        "return batch.batch_id",
        "test_exclude.py -k never_had",
    ),
    Mutation(
        "take events however late",
        "jobs/sources/gather.py",
        "late = new & self.late.among",
        "late = ~new & self.late.among",
        "test_late.py -k limit",
    ),
    Mutation(
        "a bot is a person",
        "jobs/trending.py",
        '.where(F.col("n_items") > max_items)',
        '.where(F.col("n_items") > 10 * max_items)',
        "test_trending.py -k anybody_can",
    ),
    Mutation(
        "overwrite a commit",
        "jobs/rim/store.py",
        "            os.link(attempt, target)\n",
        "            shutil.copy(attempt, target)\n",
        "test_store.py",
    ),
    Mutation(
        "read newer than the snapshot",
        "jobs/rim/batch_log.py",
        "        return self._known[:snapshot]\n",
        "        return self._known[:]\n",
        "test_lake.py",
    ),
    Mutation(
        "pseudonyms without the key",
        "schemas/identity.py",
        "hmac.new(secret, digestmod",
        "hmac.new(b'', digestmod",
        "test_schemas.py test_ingest.py",
    ),
    Mutation(
        "identical rows become one",
        "jobs/sources/identify.py",
        "ordinals = seen.earlier(row_digests)",
        "ordinals = seen.earlier(row_digests) * 0",
        "test_ingest.py",
    ),
    Mutation("no decay", "jobs/kernels/pair_totals.py", "columns[1] * decay", "columns[1]", "test_interactions.py"),
    Mutation(
        "no cap on a bot's day",
        "jobs/kernels/pair_totals.py",
        "micro * most_a_day / crowd",
        "micro * most_a_day / most_a_day",
        "test_interactions.py",
    ),
    Mutation(
        "what was forgotten counts",
        "jobs/kernels/pair_totals.py",
        "day - last // DAY_US > window",
        "False",
        "test_rollups.py test_interactions.py",
    ),
    Mutation(
        "pairs one way only",
        "jobs/kernels/pairs.py",
        "if other != item and n_pair",
        "if other > item and n_pair",
        "test_cooccurrence.py",
    ),
    Mutation(
        "a person makes a trend alone",
        "jobs/trending.py",
        'groupBy("segment", "item_idx", "person")',
        'groupBy("segment", "item_idx", "person", "event_time")',
        "test_trending.py",
    ),
    Mutation(
        "the weakest reason",
        "jobs/kernels/because.py",
        "np.argmax(terms[:, row] * trusted)",
        "np.argmin(terms[:, row] * trusted)",
        "test_kernels.py",
    ),
    Mutation(
        "show what is sold out",
        "jobs/kernels/rules/eligible.py",
        "allowed = context.available[items]",
        "allowed = items >= 0",
        "test_candidates_slates.py",
    ),
    Mutation(
        "many slates at once hide what may be bought again",
        "jobs/kernels/rules/plain.py",
        "if not returns[row]:",
        "if True:",
        "test_slates_threads.py",
    ),
    Mutation(
        "serving hides what may be bought again",
        "jobs/kernels/rules/slate.py",
        "user.seen[~comes_back(user, night.rules)][: night.n_seen]",
        "user.seen[: night.n_seen]",
        "test_slates_threads.py",
    ),
    Mutation(
        "rules are no part of a version",
        "jobs/rim/lineage.py",
        'tables | ({"rules": used} if used else {})',
        "tables",
        "test_lineage.py",
    ),
    Mutation(
        "switch over another's release",
        "jobs/rim/redis_release.py",
        "if live.epoch ~= tonumber(ARGV[1]) then return 'conflict' end",
        "",
        "test_publish.py",
    ),
    Mutation(
        "an overtaken publisher switches",
        "jobs/rim/redis_release.py",
        "if ARGV[2] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[2] then return 'fenced' end",
        "",
        "test_publish.py",
    ),
    Mutation(
        "show an item twice",
        "serving/safety.py",
        "            taken.add(item)\n            if cap",
        "            if cap",
        "test_safety.py",
    ),
    Mutation(
        "accept unknown parameters",
        "serving/asked.py",
        "            if name not in names:\n                raise",
        "            if False:\n                raise",
        "test_serving.py",
    ),
    Mutation(
        "show what is out of stock",
        "schemas/availability.py",
        "| back | out) ^ out)",
        "| back) ^ 0)",
        "test_availability.py",
    ),
    Mutation(
        "let a second change overwrite the first",
        "jobs/rim/outside.py",
        "~= ARGV[1] then return 0 end",
        "~= ARGV[1] and false then return 0 end",
        "test_api.py -k two",
    ),
    Mutation(
        "promote what was seen",
        "serving/safety.py",
        "item not in self.taken and self.rules.available(item)",
        "self.rules.available(item)",
        "test_safety.py",
    ),
    Mutation(
        "a cap that stays hard",
        "serving/safety.py",
        "        self.picks += self.held[: self.wanted - len(self.picks)]\n",
        "",
        "test_safety.py",
    ),
    Mutation(
        "filters that end with the first rungs",
        "serving/view.py",
        "        return self.matching(wanted)",
        "        return ()",
        "test_api.py -k categories",
    ),
    Mutation(
        "an excluded id in a list of one",
        "serving/values.py",
        'for part in text.split(",") if part]',
        "for part in (text,) if part]",
        "test_api.py -k excluded",
    ),
    Mutation(
        "a body for every catalogue",
        "serving/bodies.py",
        "any(one is not other for one, other in zip(made_of, stamp, strict=True))",
        "False",
        "test_api.py -k stock",
    ),
    Mutation(
        "damage empties availability",
        "serving/corrections.py",
        "            self.refused = raw  # told once\n",
        "            self.refused, self.now = raw, self.nothing\n",
        "test_api.py -k read",
    ),
    Mutation(
        "publish without waiting for the gate",
        "dags/nightly.py",
        'bought_together", ["gate"])',
        'bought_together", ["rank"])',
        "test_dags.py -k edges",
    ),
    Mutation(
        "count epochs from Redis alone",
        "jobs/publish.py",
        "claim = self.history.claim if self.history else (lambda after: after)",
        "claim = lambda after: after",
        "test_release_faults.py -k epoch",
    ),
    Mutation(
        "let come back what was rolled back from",
        "jobs/rim/refusals.py",
        "if generation.name in left and left[generation.name].age_key > now.age_key:",
        "if False:",
        "test_orders.py -k after_a_rollback",
    ),
    Mutation(
        "believe the switch",
        "jobs/publish.py",
        "        self.confirm(after, changes)\n",
        "",
        "test_release_faults.py -k promoted",
    ),
    Mutation(
        "tidy up beside a publisher",
        "jobs/keep.py",
        "if not lease.try_acquire():",
        "if lease.try_acquire() and False:",
        "test_orders.py -k in_progress",
    ),
    Mutation(
        "load nothing again but what was asked for",
        "jobs/publish.py",
        "if known else []",
        "if False else []",
        "test_orders.py -k emptied",
    ),
    Mutation(
        "keys that never end",
        "jobs/kernels/user_values.py",
        "ttl = life[0] - crc32(out, key, at, table) % life[1]",
        "ttl = 100 * life[0]",
        "test_bulk.py -k row_by_row",
    ),
    Mutation("let titles run", "serving/pages.py", "autoescape=True", "autoescape=False", "test_pages.py -k is_text"),
    Mutation(
        "one scheme for day and night",
        "serving/static/pages.css",
        "@media (prefers-color-scheme: dark)",
        "@media print",
        "test_pages.py -k scheme",
    ),
    Mutation(
        "a console of one worker",
        "serving/metrics.py",
        "return list(MultiProcessCollector(CollectorRegistry(), folder).collect())",
        "return list(self.registry.collect())",
        "test_pages.py -k fresh",
    ),
    Mutation(
        "a publish depends on the gate's numbers",
        "jobs/judging/about.py",
        "except TROUBLE as error",
        "except ZeroDivisionError as error",
        "test_about.py -k trouble",
    ),
    Mutation(
        "the console for everybody",
        "conf/sections.py",
        'self.console == "local" and is_loopback(self.host)',
        'self.console == "local"',
        "test_console.py -k local",
    ),
)


def noticed(mutation: Mutation) -> bool:
    """Whether at least one of its tests fails on a copy with the mutation."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        for name in COPIED:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("setup.cfg", "pyproject.toml", "README.md", "Makefile", "requirements.txt"):
            shutil.copy(ROOT / name, copy)
        path = copy / mutation.file
        text = path.read_text()
        if text.count(mutation.old) != 1:
            raise SystemExit(
                f"{mutation.name}: {mutation.old!r} is {text.count(mutation.old)} times in {mutation.file}"
            )
        path.write_text(text.replace(mutation.old, mutation.new))
        tests = [f"tests/{word}" if word.endswith(".py") else word for word in mutation.tests.split()]
        argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(argv, cwd=copy, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(
                f"{mutation.name}: pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr}"
            )
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        print(f"{'noticed' if failed else 'MISSED':<8} {mutation.name}: {failed[0] if failed else '-'}", flush=True)
        return bool(failed)


def main(names: list[str]) -> int:
    chosen = [m for m in MUTATIONS if not names or m.name in names]
    n_noticed = sum(noticed(mutation) for mutation in chosen)
    print(f"{n_noticed} of {len(chosen)} mutations noticed")
    return 0 if n_noticed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
