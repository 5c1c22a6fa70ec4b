"""Stopping without a cut answer: workers say that they are not ready for a while, then finish what they began.

The service tells its workers by a file: they are processes of their own, and a probe is asked of whichever comes first.
"""

import os
from pathlib import Path

from serving.metrics import FOLDER

NAME = "draining"


def begin() -> None:
    (Path(os.environ[FOLDER]) / NAME).touch()


def draining() -> bool:
    folder = os.environ.get(FOLDER)
    return folder is not None and os.path.exists(os.path.join(folder, NAME))
