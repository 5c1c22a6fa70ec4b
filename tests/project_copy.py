"""The project as a clone would hold it, and `make` run in it as a user would."""

import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]


def copy_project(target: Path) -> Path:
    """What a clone holds, with changes not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
            (target / name).chmod((ROOT / name).stat().st_mode)
    return target


def environment(folder: Path, env: dict[str, str]) -> dict[str, str]:
    """Ours and ``env``; if coverage is measured, the copy's files are, into our data."""
    ours = dict(os.environ)
    if ours.pop("COVERAGE_PROCESS_CONFIG", None):
        ours |= {"COVERAGE_PROCESS_START": str(folder / "setup.cfg"), "COVERAGE_FILE": str(ROOT / ".coverage")}
    return ours | env


def make(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    """Run make to its end."""
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment(folder, env), capture_output=True, text=True, timeout=900
    )


BEGUN: list[subprocess.Popen] = []


def begin(folder: Path, *arguments: str, **env: str) -> subprocess.Popen:
    """Start make as a terminal does: in a process group of its own, which Ctrl-C reaches as a whole."""
    process = subprocess.Popen(
        ["make", *arguments], cwd=folder, env=environment(folder, env), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    BEGUN.append(process)
    return process


def end_begun() -> None:
    """End what a failed test left running; nothing after a test that passed."""
    while BEGUN:
        process = BEGUN.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=60)


def running_in(folder: Path) -> list[str]:
    """Command lines of processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it ended meanwhile, or is a kernel thread
                continue
    return found
