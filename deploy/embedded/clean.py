"""``make clean``: removes everything runs left behind, unless something still runs on it."""

import shutil
import sys

from deploy.embedded import house, redis
from deploy.embedded.problems import guarded


def main() -> int:
    house.enter()
    with house.lock("make clean"):
        if redis.answers():  # nobody holds the folder, so it was orphaned by a run that was killed
            redis.stop()
        shutil.rmtree(house.STATE)
    print(f"removed {house.STATE}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
