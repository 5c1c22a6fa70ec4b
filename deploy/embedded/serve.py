"""``make serve``: the API on the release of the last run, until Ctrl-C."""

import os
import signal
import sys
from pathlib import Path
from urllib.parse import quote

from deploy.embedded import checks, house, redis
from deploy.embedded.command import some_people
from deploy.embedded.problems import guarded
from deploy.embedded.serving import serving

N_PEOPLE = 3


def main() -> int:
    house.enter()
    release = house.last_release()
    port = checks.check_port("127.0.0.1", os.environ.get("PORT") or house.setting("serving", "port"))
    env = house.environment(Path(release["lake"]), release["namespace"])
    env |= {"NIGHTSHELF_SERVING__PORT": str(port), "NIGHTSHELF_SERVING__HOST": "127.0.0.1"}
    with house.lock("make serve", shared=True), redis.running(env, join=True), serving(env, port) as url:
        print(f"Serving at {url} until Ctrl-C. Try:", flush=True)
        for person in some_people(release["path"], release["source"], N_PEOPLE, env):
            print(f"  {url}/v1/users/{quote(person, safe='')}/recommendations", flush=True)
        print(f"  {url}/v1/trending\n  {url}/v1/release", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    sys.exit(guarded(main))
