"""Is what is live as fresh as it should be? By the last moment each live generation knows; exit code 4 where it is not.

`--tell` tells people by the settings of [alerts]: once when something becomes too old, or Redis does not say or lost
what was live, and once when all is well again. What was told is kept in the lake. Needs no Airflow, so any clock can
call it.
"""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from conf.sections import Alerts
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("--tell", action="store_true", help="tell people of what began or ended since the last look")


def main(args: argparse.Namespace, settings: Settings) -> int:
    keys, lake = Keys(settings.redis.namespace), Lake.open(settings.lake)
    wrong: dict[str, str] = {}
    for own in targets(settings):
        wrong |= look(own, keys, History(lake, keys.namespace), datetime.now(UTC))
    for line in wrong.values():
        print(line)
    if args.tell:
        tell(wrong, Incidents(lake, keys.namespace), settings.alerts)
    return EXIT_OLD if wrong else 0


def look(settings: Settings, keys: Keys, history: History, now: datetime) -> dict[str, str]:
    """What is wrong with one Redis: a line for each surface, or one for the whole: prints what is well."""
    where = place(settings.redis.url)
    try:
        with redis_trouble(where):
            live = read_release(connect(settings), keys)
    except TemporaryError as error:
        return {where: str(error)}
    if live is None:
        lost = history.newest()
        if lost is None:
            print(f"{where}: nothing was ever published")
            return {}
        return {where: f"{where}: nothing is live, and release {lost.epoch} was: `nightshelf publish` loads it again"}
    return judged(live, settings.alerts, where, now)


def judged(live: Release, wanted: Alerts, where: str, now: datetime) -> dict[str, str]:
    """A line for each surface that is too old, by its place."""
    wrong = {}
    for name, entry in live.surfaces.items():
        surface = name.partition("/")[0]
        setting = "trending_max_age_hours" if surface == "trending" else "max_age_hours"
        hours = getattr(wanted, setting)
        told = f"{name}: knows nothing after {entry.as_of}, {age(entry, now)} ago"
        if now - parse_time(entry.as_of) > timedelta(hours=hours):
            pinned = ", and it is pinned" if entry.base in live.pinned else ""
            wrong[f"{where} {name}"] = f"{told}; allowed: {hours} h (alerts.{setting}){pinned}"
        else:
            print(f"{told}; allowed: {hours} h")
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
