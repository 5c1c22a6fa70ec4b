"""The command ``nightshelf`` in one process that stays: real jobs, without a start of Python and of Spark for each.

``python resident_command.py SOCKET`` serves; :func:`write_client` writes the program for PATH that asks it. One command
runs at a time, with the settings of whoever asked. That processes start, die and are killed with their tasks is tested
elsewhere.
"""

import contextlib
import io
import json
import os
import socket
import sys
from pathlib import Path

CLIENT = """\
#!{python} -IS
import json, os, socket, sys
ours = {{name: value for name, value in os.environ.items() if name.startswith("NIGHTSHELF_")}}
ours.pop("NIGHTSHELF_RESOURCES__END_WITH_PARENT", None)  # the one process serves many parents
with socket.socket(socket.AF_UNIX) as place:
    place.connect({path!r})
    place.sendall(json.dumps([sys.argv[1:], ours]).encode() + b"\\n")
    code, said = json.load(place.makefile())
sys.stdout.buffer.write(said.encode())
sys.exit(code)
"""


def write_client(program: Path, path: Path) -> None:
    program.parent.mkdir(exist_ok=True)
    program.write_text(CLIENT.format(python=sys.executable, path=str(path)))
    program.chmod(0o755)


def serve(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as place:
        place.bind(path)
        place.listen(16)
        while True:
            asked, _ = place.accept()
            with asked, asked.makefile("rw") as line:
                words, settings = json.loads(line.readline())
                json.dump(run(words, settings), line)


def run(words: list[str], settings: dict[str, str]) -> tuple[int, str]:
    """Exit code, and all it printed."""
    from jobs import cli

    for name in [name for name in os.environ if name.startswith("NIGHTSHELF_")]:
        del os.environ[name]
    os.environ.update(settings)
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)  # a page is written as bytes
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = cli.main(words)
        except SystemExit as error:
            code = error.code
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
            code = 1
    return code, said.buffer.getvalue().decode()


if __name__ == "__main__":
    serve(sys.argv[1])
