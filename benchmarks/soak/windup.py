"""After the last task: what an operator's upkeep does, then the questions, while Redis and Airflow still run."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.soak.aftermath import Aftermath
from benchmarks.soak.equal import Compared, compare
from benchmarks.soak.ground import Ground
from benchmarks.soak.stage import Stage
from conf.settings import Settings, load_settings
from deploy.embedded.checks import free_port
from deploy.embedded.command import nightshelf, some_people
from deploy.embedded.http import fetch
from deploy.embedded.problems import Problem
from deploy.embedded.processes import family
from deploy.embedded.serving import serving
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS
from jobs.rim.manifest import Manifest, decode
from jobs.rim.redis_client import connect
from schemas.keys import Keys

ORPHANS_S = 30.0  # for what a killed task had started to notice it
N_PEOPLE = 3
AGED_S = 2 * 86_400
PATIENT = {  # what is asked for is what Redis holds, on however busy a machine
    "NIGHTSHELF_REDIS__READ_TIMEOUT_MS": "5000",
    "NIGHTSHELF_REDIS__CONNECT_TIMEOUT_MS": "5000",
    "NIGHTSHELF_SERVING__DEADLINE_MS": "20000",
    "NIGHTSHELF_SERVING__QUEUE_MS": "20000",
}
CURE = re.compile(r"`nightshelf (publish --generation [^`]+)`")


@dataclass(frozen=True)
class Left:
    """``wrong``: by question what is not as it should be; ``garbage`` is what upkeep said it removed."""

    tables: list[Compared]
    wrong: dict[str, list[str]]
    n_read: int
    upkeep: list[str]
    temporary: int

    @property
    def well(self) -> bool:
        return all(table.equal for table in self.tables) and not any(self.wrong.values())

    def as_json(self) -> dict:
        return asdict(self)


def wind_up(ground: Ground, stage: Stage) -> Left:
    """Upkeep, then everything that is asked of a soak but for its runs."""
    wrong = {"orphans": orphans(stage)}
    with settings_of(stage.env) as settings:
        wait_for_lease(settings)
        upkeep = [*keep(stage.env), *tidy(ground, stage.env)]
        wrong["leftovers"] = leftovers(Lake.open(settings.lake), nightshelf(["tidy", "--dry-run"], stage.env))
        calm = settings.lake.model_copy(update={"uri": str(ground.folder / "calm" / "lake")})
        lakes = Lake.open(settings.lake), Lake.open(calm)
        aftermath = Aftermath(ground, settings, lakes[1])
        wrong |= aftermath.wrong() | {"answers": answers(ground, stage, aftermath.live_slates())}
        n_temporary = len(list((ground.folder / "tmp").iterdir()))
        return Left(compare(*lakes), wrong, aftermath.n_read, upkeep, n_temporary)


def orphans(stage: Stage) -> list[str]:
    """Command lines of processes that are below us and below none of the services."""
    deadline = time.monotonic() + ORPHANS_S
    while (strays := family(None) - stage.pids()) and time.monotonic() < deadline:
        time.sleep(0.2)
    found = []
    for pid in sorted(strays):
        with contextlib.suppress(OSError):
            found.append(Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
    return found


def wait_for_lease(settings: Settings) -> None:
    """That of a publisher which was killed at last runs out."""
    client, lease = connect(settings), Keys(settings.redis.namespace).lease
    deadline = time.monotonic() + 2 * settings.publish.lease_s
    while client.exists(lease) and time.monotonic() < deadline:
        time.sleep(0.2)


def keep(env: dict[str, str]) -> list[str]:
    """``nightshelf keep``; where Redis was killed after the last publish, what it says is to be done."""
    try:
        return nightshelf(["keep"], env)[-1:]
    except Problem as problem:
        if not (cure := CURE.search(str(problem))):
            raise
        nightshelf(cure[1].split(), env)
        return [f"keep: {problem}: done", *nightshelf(["keep"], env)[-1:]]


def tidy(ground: Ground, env: dict[str, str]) -> list[str]:
    """``nightshelf tidy`` in two days' time: all files are made that old. Nothing it removes may be missed after it."""
    moment = time.time() - AGED_S
    for path in (ground.folder / "lake").rglob("*"):
        if path.is_file():
            os.utime(path, (moment, moment))
    return nightshelf(["tidy"], env)


def leftovers(lake: Lake, tidied: list[str]) -> list[str]:
    """What another ``tidy`` would still remove, and files of computed tables that no manifest names."""
    manifests = (decode(Manifest, lake.store.get(key)) for key in lake.store.walk("manifests"))
    named = {file.path for manifest in manifests for files in manifest.files.values() for file in files}
    found = {key for table in MAKERS for key in lake.store.walk(table)}
    again = [line for line in tidied if line.startswith("garbage: ") and not line.startswith("garbage: 0 files")]
    return [*again, *sorted(key for key in found - named if not key.endswith("/_SUCCESS"))]


def answers(ground: Ground, stage: Stage, generation: str) -> list[str]:
    """People whose slate the API does not serve out of the newest generation."""
    port = free_port()
    env = stage.env | PATIENT | {"NIGHTSHELF_SERVING__PORT": str(port), "NIGHTSHELF_SERVING__HOST": "127.0.0.1"}
    with serving(env, port) as url:
        people = some_people(str(ground.history), "nightshelf", N_PEOPLE, env)
        told = [fetch(f"{url}/v1/users/{person}/recommendations") for person in people]
    seen = [(one["tier"], one["generation"], one["degraded"]) for one in told]
    return [f"an answer is {one}" for one in seen if one != ("personal", generation, False)]


@contextlib.contextmanager
def settings_of(env: dict[str, str]) -> Iterator[Settings]:
    """The settings a command in that environment has."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(env)
    try:
        yield load_settings()
    finally:
        os.environ.clear()
        os.environ.update(before)
