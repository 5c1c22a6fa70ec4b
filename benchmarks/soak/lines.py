"""A line on the terminal, at once."""

from benchmarks.soak.ground import Ground


def say(line: str) -> None:
    print(line, flush=True)


def size(ground: Ground) -> str:
    return f"{ground.hours} hours, {len(ground.nights)} nights, {ground.kills} kills, seed {ground.seed}"
