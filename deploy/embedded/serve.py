"""``make serve``: the API and its pages on the release of the last run, until Ctrl-C."""

import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

from deploy.embedded import checks, house, redis
from deploy.embedded.command import some_people
from deploy.embedded.problems import Problem, guarded
from deploy.embedded.serving import serving

N_PEOPLE = 3
LOOK_S = 1.0


def main() -> int:
    house.enter()
    release = house.last_release()
    port = checks.check_port("127.0.0.1", os.environ.get("PORT") or house.setting("serving", "port"))
    env = house.environment(Path(release["lake"]), release["namespace"])
    env |= {"NIGHTSHELF_SERVING__PORT": str(port), "NIGHTSHELF_SERVING__HOST": "127.0.0.1"}
    checks.check_settings(env)
    people = known_people(release, env)
    env["NIGHTSHELF_SERVING__EXAMPLE_USERS"] = json.dumps(people)
    with house.lock("make serve", shared=True), redis.kept(env) as ensure, serving(env, port) as url:
        print(f"Serving at {url} until Ctrl-C: a shop page there, the operator's at {url}/console. Or try:", flush=True)
        for person in people:
            print(f"  {url}/v1/users/{quote(person, safe='')}/recommendations", flush=True)
        print(f"  {url}/v1/trending\n  {url}/v1/release", flush=True)
        while True:
            ensure()
            time.sleep(LOOK_S)


def known_people(release: dict, env: dict[str, str]) -> list[str]:
    """A few to try; none when the files they are read from are gone: the release does not need them."""
    try:
        return some_people(release["path"], release["source"], N_PEOPLE, env)
    except Problem:
        return []


if __name__ == "__main__":
    sys.exit(guarded(main))
