"""What is wrong for a while, told when it begins and when it is over, whoever looks how often in between.

alerts/<namespace>/<number>.json    what was wrong after the n-th change: line by id; written once it was told
"""

from collections.abc import Mapping

import orjson

from jobs.rim.lake import Lake


class Incidents:
    """The incidents of one namespace, remembered in a lake: a Redis that is away may be one."""

    def __init__(self, lake: Lake, namespace: str):
        self.store, self.folder = lake.store, f"alerts/{namespace}"

    def begun(self) -> Mapping[str, str]:
        """What was wrong when it was last told."""
        keys = self.store.list(self.folder)
        return orjson.loads(self.store.get(keys[-1])) if keys else {}

    def remember(self, wrong: Mapping[str, str]) -> None:
        """Of two who look at once, one is remembered."""
        keys = self.store.list(self.folder)
        number = int(keys[-1].rpartition("/")[2].removesuffix(".json")) + 1 if keys else 0
        self.store.put_if_absent(f"{self.folder}/{number:010d}.json", orjson.dumps(dict(wrong)))
