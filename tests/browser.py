"""A real Chromium without a window, spoken to by its own protocol over a pipe: no driver, no package, no port."""

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT_S = 60  # a browser that says nothing for so long is stuck
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe",
)  # fmt: skip

AS_3_AND_4 = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def executable() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page; what it asked for, what its console and its security policy complained of, is kept."""

    def __init__(self, read: int, write: int):
        self._read, self._write = read, write
        self._heard, self._number, self._session = b"", 0, None
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self.loaded = 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict:
        """Send a command, hear whatever comes until its answer is there."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        os.write(
            self._write,
            json.dumps({"id": self._number, "method": method, "params": parameters, **session}).encode() + b"\0",
        )
        while True:
            told = self.hear()
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]

    def hear(self) -> dict:
        """The next message; events are noted."""
        while b"\0" not in self._heard:
            assert select.select([self._read], [], [], WAIT_S)[0], "the browser says nothing"
            part = os.read(self._read, 1 << 16)
            assert part, "the browser ended"
            self._heard += part
        message, _, self._heard = self._heard.partition(b"\0")
        told = json.loads(message)
        self.note(told.get("method"), told.get("params", {}))
        return told

    def note(self, event: str | None, told: dict) -> None:
        match event:
            case "Page.loadEventFired":
                self.loaded += 1
            case "Network.requestWillBeSent":
                self.requested.append(told["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(told["args"]))

    def look(self, width: int, dark: bool = False, height: int = 900) -> None:
        """From now on as on a screen of that width, and in that scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still])

    def open(self, url: str) -> None:
        """Go there and wait until all of it is loaded."""
        self.wait_load(lambda: self.call("Page.navigate", url=url))

    def wait_load(self, act) -> None:
        before = self.loaded
        act()
        while self.loaded == before:
            self.hear()

    def run(self, script: str) -> Any:
        """The value of an expression, of a promise too."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> None:
        """Until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def scripts(self, on: bool) -> None:
        self.call("Emulation.setScriptExecutionDisabled", value=not on)

    def picture(self) -> bytes:
        """All of the page as PNG."""
        return b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"])


@contextmanager
def browser() -> Iterator[Browser]:
    """Started, and ended by its pid; raise RuntimeError without one on PATH."""
    program = executable()
    if program is None:
        raise RuntimeError(f"no browser on PATH: one of {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="ns-chromium-", ignore_cleanup_errors=True) as profile:
        process, read, write = start([program, *OPTIONS, f"--user-data-dir={profile}"])
        try:
            yield Browser(read, write)
        finally:
            os.close(write)  # it ends when nobody speaks to it any more
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.close(read)


def start(command: list[str]) -> tuple[subprocess.Popen, int, int]:
    """A process that reads commands from its descriptor 3 and answers on 4; where we read and write."""
    theirs_in, write = os.pipe()
    read, theirs_out = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", AS_3_AND_4, *map(str, high), *command],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
    return process, read, write
