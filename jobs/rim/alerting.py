"""Tells people what went wrong: JSON to a webhook, an e-mail. Bounded in time, tried a few times, and never an error.

URLs may be secrets: what is said of a delivery names the host only.
"""

import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import orjson

from conf.connections import Alerts

TIMEOUT_S = 4.0  # for connecting, and for each answer
PAUSES_S = (0.0, 1.0, 3.0)  # before each try; both channels at their slowest take half a minute
TROUBLE = (OSError, HTTPException, smtplib.SMTPException, UnicodeError)


@dataclass(frozen=True)
class Alert:
    """``text`` for people, its first line a summary; ``fields`` say the same to programs."""

    text: str
    fields: Mapping[str, object] = field(default_factory=dict)


class Refused(Exception):
    """The other side will say the same again."""


def deliver(alert: Alert, wanted: Alerts, say: Callable[[str], None]) -> list[bool]:
    """Tell it by every channel there is, and ``say`` a line for each; whether each took it."""
    channels = []
    if hook := wanted.webhook_url.get_secret_value():
        channels.append((f"webhook at {urlsplit(hook).hostname}", lambda: post(alert, hook)))
    if wanted.email_to:
        server = wanted.smtp_url.get_secret_value()
        channels.append((f"e-mail by {urlsplit(server).hostname}", lambda: send_mail(alert, wanted, server)))
    if not channels:
        say("alert: nobody is told; alerts.webhook_url and alerts.email_to are empty")
    return [tried(name, send, say) for name, send in channels]


def tried(name: str, send: Callable[[], None], say: Callable[[str], None]) -> bool:
    """Send, some times at most; whether it went out."""
    for number, pause_s in enumerate(PAUSES_S, 1):
        time.sleep(pause_s)
        try:
            send()
        except Refused as error:
            say(f"alert: {name} refused: {error}")
            return False
        except TROUBLE as error:
            say(f"alert: {name} failed, try {number} of {len(PAUSES_S)}: {in_short(error)}")
        else:
            say(f"alert: told by {name}")
            return True
    return False


def in_short(error: Exception) -> str:
    """Kind and number of an error: its text may hold what it was sent to."""
    number = getattr(error, "code", None) or getattr(error, "smtp_code", None) or getattr(error, "errno", None)
    return f"{type(error).__name__}{'' if number is None else f' {number}'}"


class Stay(HTTPRedirectHandler):
    """A webhook does not move; whoever says so may be somebody else."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(alert: Alert, url: str) -> None:
    """POST it as JSON.

    Raises:
        Refused: an answer that no other try would change.
    """
    body = orjson.dumps({"text": alert.text} | dict(alert.fields))
    request = Request(url, body, {"Content-Type": "application/json", "User-Agent": "nightshelf"})
    try:
        build_opener(Stay).open(request, timeout=TIMEOUT_S).close()
    except HTTPError as error:
        error.close()
        if error.code < 500 and error.code not in (408, 429):
            raise Refused(f"HTTP {error.code}") from None
        raise


def send_mail(alert: Alert, wanted: Alerts, server: str) -> None:
    """Send it to all addresses.

    Raises:
        Refused: the server wants no such login or mail, or would be told a password without TLS.
    """
    place = urlsplit(server)
    context = ssl.create_default_context()
    secure = place.scheme == "smtps"
    kind = partial(smtplib.SMTP_SSL, context=context) if secure else smtplib.SMTP
    port = place.port or (smtplib.SMTP_SSL_PORT if secure else smtplib.SMTP_PORT)
    try:
        # its own name as it is: looking it up may take longer than the mail
        with kind(place.hostname, port, local_hostname=socket.gethostname(), timeout=TIMEOUT_S) as smtp:
            smtp.ehlo()
            if not secure and smtp.has_extn("starttls"):
                smtp.starttls(context=context)
                secure = True
            if place.username:
                if not secure:
                    raise Refused("it offers no TLS, and a password is not sent without")
                smtp.login(unquote(place.username), unquote(place.password or ""))
            smtp.send_message(mail(alert, wanted))
    except smtplib.SMTPResponseException as error:
        if error.smtp_code >= 500:
            raise Refused(f"SMTP {error.smtp_code}") from None
        raise


def mail(alert: Alert, wanted: Alerts) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = alert.text.splitlines()[0][:200]
    message["From"] = wanted.email_from
    message["To"] = ", ".join(wanted.email_to)
    facts = "".join(f"{name}: {value}\n" for name, value in alert.fields.items() if value not in (None, [], ""))
    message.set_content(f"{alert.text}\n\n{facts}")
    return message
