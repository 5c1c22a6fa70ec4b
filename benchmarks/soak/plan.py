"""Which kills, of what, in which step: drawn once from a seed, every step first, then at random. Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What is killed, how often one is drawn; a JVM or a worker of Spark only where the step has one.
WHAT = {"command": 4, "runner": 3, "executor": 2, "jvm": 4, "worker": 2, "scheduler": 3, "redis": 3}
SPARK_STEPS = {"trending": ("jvm",), "rank": ("jvm", "worker")}
REDIS_STEPS = ("publish", "keep")
# How long a step takes at least, in seconds, until a run of it was seen; any other: as good as nothing.
LEAST_S = {"trending": 5.0, "prepare": 4.0, "recipe": 8.0, "rank": 8.0, "gate": 3.0, "evaluate": 2.0, "fit": 1.5}


@dataclass(frozen=True)
class Kill:
    """What to kill once a step, in the run of that place in its backfill or a later one, has lasted a share of its
    usual time.
    """

    number: int
    dag: str
    task: str
    place: int
    what: str
    share: float

    @property
    def step(self) -> tuple[str, str]:
        return self.dag, self.task


def draw(tasks: Mapping[str, Sequence[str]], n_runs: Mapping[str, int], n_kills: int, seed: int) -> list[Kill]:
    """``n_kills`` kills: one for each step of each DAG in random order as far as they go, further ones at random.

    With 30 of them and the DAGs as they are, each of ``WHAT`` comes, too: those are drawn in turn first.
    """
    rng = random.Random(seed)
    steps = [(dag, task) for dag in sorted(tasks) for task in tasks[dag]]
    rng.shuffle(steps)
    chosen = steps[:n_kills] + [any_step(rng, tasks) for _ in range(n_kills - len(steps))]
    kills, counts = [], dict.fromkeys(WHAT, 0)
    for number, (dag, task) in enumerate(chosen, 1):
        what = least_drawn(rng, dag, task, counts)
        counts[what] += 1
        kills.append(Kill(number, dag, task, rng.randrange(n_runs[dag]), what, rng.uniform(0.05, 0.95)))
    return kills


def any_step(rng: random.Random, tasks: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Each DAG as often as the other, then each of its steps."""
    dag = rng.choice(sorted(tasks))
    return dag, rng.choice(tasks[dag])


def least_drawn(rng: random.Random, dag: str, task: str, counts: Mapping[str, int]) -> str:
    """Of what the step has, that which is furthest behind its weight; ties by chance."""
    spark = SPARK_STEPS.get(task, ())
    fits = [what for what in WHAT if what not in ("jvm", "worker") or what in spark]
    fits = [what for what in fits if what != "redis" or task in REDIS_STEPS or dag == "hourly"]  # a publish follows
    return min(fits, key=lambda what: (counts[what] / WHAT[what], rng.random()))
