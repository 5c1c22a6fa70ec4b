"""The README's console blocks, and text with what differs from run to run masked: ids, times, ages, ports."""

import re
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).absolute().parents[1] / "README.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MASKS = (
    (re.compile(r"\b[0-9a-f]{12,32}\b"), "ID"),
    (re.compile(r"\b\d+\.\d\b"), "TIME"),
    (re.compile(r"\b\d+ (s|seconds|minutes?|min|h|hours?|days?) (old|ago)\b"), "AGE"),
    (re.compile(r"127\.0\.0\.1:\d+"), "HOST"),
    (re.compile(r"[ \t]+"), " "),
)


class Block(NamedTuple):
    """One block: the script behind its prompts, and what it shows."""

    script: str
    shown: str


def blocks() -> list[Block]:
    return [parse(found[1]) for found in BLOCK.finditer(README.read_text())]


def parse(text: str) -> Block:
    """A line after ``$`` is a command; a here-document belongs to its command."""
    script, shown, until = [], [], None
    for line in text.splitlines():
        if until is not None:
            script.append(line)
            until = None if line == until else until
        elif line.startswith("$ "):
            script.append(line[2:])
            found = re.search(r"<<'(\w+)'", line)
            until = found[1] if found else None
        else:
            shown.append(line)
    return Block("\n".join(script), "\n".join(shown))


def block(start: str) -> Block:
    """The block whose script starts so."""
    (found,) = [each for each in blocks() if each.script.startswith(start)]
    return found


def masked(text: str) -> str:
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())
