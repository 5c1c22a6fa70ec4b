"""``python -m serving``: the API under granian, with host, port and workers from the settings.

Exit codes: 0 stopped, 2 settings cannot be used or the port is taken.
"""

import os
import signal
import socket
import sys
import threading
from functools import partial
from pathlib import Path

from conf.settings import Serving, SettingsError, load_settings
from serving.drain import begin
from serving.metrics import prepare
from serving.warm import require_boto3

EXIT_USAGE = 2
CONNECTIONS = 2_048  # open ones of a worker, and those that wait to be accepted; requests queue in serving.gate
STOP_S = 5  # for a worker to end what it began


def main() -> int:
    try:
        settings = load_settings()
        settings.identity.secret_bytes()
        require_boto3(settings.warm)
    except SettingsError as error:
        return complain(str(error))
    serving = settings.serving
    if trouble := port_trouble(serving):
        return complain(trouble)
    print(f"serving on http://{serving.host}:{serving.port} with {serving.workers} workers; Ctrl-C stops", flush=True)
    serve(serving)
    return 0


def complain(line: str) -> int:
    print(f"serving: {line}", file=sys.stderr)
    return EXIT_USAGE


def port_trouble(serving: Serving) -> str | None:
    """Why the address cannot be listened on, None when it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(serving.host, serving.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return (
            f"cannot listen on {serving.host} port {serving.port}: {error.strerror}; stop what uses it or set "
            "serving.port (NIGHTSHELF_SERVING__PORT)"
        )
    return None


def serve(serving: Serving) -> None:
    """Run until a signal; a worker that dies is replaced."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    prepare(Path(serving.cache_dir) / f"workers-{serving.port}")
    server = Granian(
        "serving.app:from_settings",
        factory=True,
        address=serving.host,
        port=serving.port,
        interface=Interfaces.RSGI,
        workers=serving.workers,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        respawn_failed_workers=True,
        respawn_interval=0.5,
        workers_kill_timeout=STOP_S,
        websockets=False,
        log_level=LogLevels.warning,
        process_name=None,
    )
    os.register_at_fork(after_in_child=own_signals)
    server.on_startup(lambda: signal.signal(signal.SIGTERM, partial(drain, server, serving.drain_s)))
    server.serve()


def own_signals() -> None:
    """In a worker until granian sets its own: as it inherits ours, SIGTERM while it starts would be lost."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def drain(server, seconds: int, *_) -> None:
    """SIGTERM: not ready from now on; stop after ``seconds``, or at the next signal."""
    signal.signal(signal.SIGTERM, server.signal_handler_interrupt)
    if not seconds:
        server.signal_handler_interrupt()
        return
    begin()
    timer = threading.Timer(seconds, server.signal_handler_interrupt)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main())
