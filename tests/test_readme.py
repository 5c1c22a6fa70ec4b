"""The README's commands give what it shows; those that need a whole run are compared in test_make_run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from readme import README, blocks, masked

ROOT = README.parent
WITH_A_RUN = ("make ", "nightshelf explain")


def test_own_events_in_five_minutes(tmp_path):
    """Blocks in order, in one folder, as one types them."""
    env = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    mine = [block for block in blocks() if not block.script.startswith(WITH_A_RUN)]
    assert len(mine) == 3
    for block in mine:
        done = subprocess.run(["bash", "-c", block.script], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert masked(done.stdout) == masked(block.shown)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert (ROOT / link).exists(), link


def test_every_folder_is_told():
    listed = set(re.findall(r"^\| `([a-z/]+)/`", README.read_text(), re.MULTILINE))
    packages = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*.py")}
    assert packages - {name.partition("/")[0] for name in listed} == set()


def test_no_placeholder_is_left():
    assert re.findall(r"@[\w-]+@", README.read_text()) == []
