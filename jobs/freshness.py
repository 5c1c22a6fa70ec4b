"""Is what is live as fresh as it should be? By the last moment each live generation knows; exit code 4 where it is not.

`--tell` tells people by the settings of [alerts]: once when something becomes too old, or Redis does not say or lost
what was live, and once when all is well again. What was told is kept in the lake. Needs no Airflow, so any clock can
call it.
"""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from conf.connections import Alerts
from conf.settings import Settings
from jobs.rim.alerting import Alert, deliver
from jobs.rim.errors import EXIT_OLD, TemporaryError
from jobs.rim.history import History
from jobs.rim.incidents import Incidents
from jobs.rim.lake import Lake
from jobs.rim.redis_client import connect, redis_trouble
from jobs.rim.redis_release import read_release
from jobs.rim.targets import place, targets
from schemas.keys import Keys
from schemas.release import Published, Release, parse_time
from schemas.tables import CONTROL_ARM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("--tell", action="store_true", help="tell people of what began or ended since the last look")


def main(args: argparse.Namespace, settings: Settings) -> int:
    keys, lake = Keys(settings.redis.namespace), Lake.open(settings.lake)
    every, wrong = targets(settings), {}
    for own in every:
        where = place(own.redis.url)
        found = look(own, where, keys, History(lake, keys.namespace), datetime.now(UTC))
        said = f"{where}: " if len(every) > 1 else ""
        wrong |= {f"{said}{name}": f"{said}{line}" for name, line in found.items()}
    for line in wrong.values():
        print(line)
    if args.tell:
        tell(wrong, Incidents(lake, keys.namespace), settings.alerts)
    return EXIT_OLD if wrong else 0


def look(settings: Settings, where: str, keys: Keys, history: History, now: datetime) -> dict[str, str]:
    """What is wrong with one Redis: a line by surface, or one for the whole; prints what is well."""
    try:
        with redis_trouble(where):
            live = read_release(connect(settings), keys)
    except TemporaryError as error:
        return {"Redis": str(error)}
    if live is not None:
        return judged(live, settings.alerts, now)
    lost = history.newest()
    if lost is None:
        print("nothing was ever published")
        return {}
    return {"Redis": f"Redis is empty, and release {lost.epoch} was live: `nightshelf keep` says how to load it again"}


def judged(live: Release, wanted: Alerts, now: datetime) -> dict[str, str]:
    """A line for each surface that is too old."""
    wrong = {}
    for key, entry in live.surfaces.items():
        surface, _, arm = key.partition("/")
        name = surface if arm == CONTROL_ARM else key
        setting = "trending_max_age_hours" if surface == "trending" else "max_age_hours"
        hours = getattr(wanted, setting)
        line = f"{name}: knows nothing after {entry.as_of}, {age(entry, now)} ago; allowed: {hours} h"
        if now - parse_time(entry.as_of) > timedelta(hours=hours):
            pinned = ", and it is pinned" if entry.base in live.pinned else ""
            wrong[name] = f"{line} (alerts.{setting}){pinned}"
        else:
            print(line)
    return wrong


def age(entry: Published, now: datetime) -> str:
    minutes = int((now - parse_time(entry.as_of)).total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def tell(wrong: Mapping[str, str], incidents: Incidents, wanted: Alerts) -> None:
    """Tell what began and what ended; what nobody could be told is told at the next look."""
    before = incidents.begun()
    began = [line for name, line in wrong.items() if name not in before]
    ended = [name for name in before if name not in wrong]
    alerts = [told("what is live is not as fresh as it should be", "release_old", began)] if began else []
    alerts += [told("fresh again", "release_fresh", ended)] if ended else []
    heard = [deliver(alert, wanted, print) for alert in alerts]
    if alerts and all(any(channels) or not channels for channels in heard):
        incidents.remember(wrong)


def told(how: str, event: str, lines: list[str]) -> Alert:
    return Alert("\n".join([f"nightshelf: {how}", *lines]), {"event": event, "lines": lines})
