"""What every task of Spark needs, once a machine: a file that its workers map, instead of a copy in each.

Arrays lie in it as they lie in memory, so nothing is read before it is looked at; of more than memory holds the kernel
lets go of what was looked at longest ago. A product with more item factors than that goes through them tile by tile
(see ``recipe.block_topk``), for as many users at once as a block has.
"""

import mmap
import pickle
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from pyspark import SparkContext, SparkFiles

from jobs.rim.memory import is_local

ALIGNED = 64  # bytes: of an array's first, as loops like it
LENGTH_BYTES = 8


@dataclass(frozen=True)
class Shared:
    """A file that Spark has brought to whatever machine asks for ``value``."""

    name: str

    @property
    def value(self) -> Any:
        return mapped(SparkFiles.get(self.name))


def share(context: SparkContext, value: Any) -> Shared:
    """The file lies where Spark has its own, which it removes when it stops; executors fetch it once."""
    path = Path(SparkFiles.getRootDirectory(), f"shared-{uuid4().hex}")
    write(path, value)
    if not is_local(context.master):
        context.addFile(str(path))
    return Shared(path.name)


def write(path: Path, value: Any) -> None:
    """A pickle, behind the arrays it is about, behind each of which stands where they are."""
    buffers: list[pickle.PickleBuffer] = []
    told = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    places = []
    with open(path, "wb") as file:
        for buffer in buffers:
            file.write(bytes(-file.tell() % ALIGNED))
            with buffer.raw() as raw:
                places.append((file.tell(), raw.nbytes))
                file.write(raw)
        begin = file.tell()
        pickle.dump((places, told), file)
        file.write(begin.to_bytes(LENGTH_BYTES, "little"))


@cache
def mapped(path: str) -> Any:
    """What ``write`` was given. Whoever writes into its arrays has pages of his own from then on."""
    with open(path, "rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    places, told = pickle.loads(whole[int.from_bytes(whole[-LENGTH_BYTES:], "little") : -LENGTH_BYTES])
    return pickle.loads(told, buffers=[whole[begin : begin + n] for begin, n in places])
