"""Real servers that hear alerts: one that takes POSTs, one that takes mail. On loopback, on free ports."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hooked(BaseHTTPRequestHandler):
    """Answers with the server's next status, 200 when none is left, and keeps what came."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Tests print no access log."""


SAYS = {"EHLO": "250-here\r\n250 AUTH PLAIN", "DATA": "354 go on", "QUIT": "221 bye"}  # all else is ok


class Postman(socketserver.StreamRequestHandler):
    """SMTP as far as a client that sends one message needs it; recipients at nowhere.test are unknown."""

    def handle(self):
        self.say("220 here")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            word = line.split(" ")[0].upper()
            if word == "RCPT":
                self.say("550 unknown" if "nowhere.test" in line else "250 ok")
            else:
                self.say(SAYS.get(word, "250 ok"))
            if word == "DATA":
                self.server.heard.append(self.message())
                self.say("250 taken")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def message(self) -> str:
        lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
        return "".join(lines).replace("\r\n", "\n")


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def listening(server) -> Iterator:
    server.heard, server.answers = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def webhook() -> contextmanager:
    """``heard`` is (path, content type, JSON) of each POST; ``answers`` are the statuses of the next ones."""
    return listening(ThreadingHTTPServer(("127.0.0.1", 0), Hooked))


def mailbox() -> contextmanager:
    """``heard`` are the messages as they came."""
    return listening(MailServer(("127.0.0.1", 0), Postman))
