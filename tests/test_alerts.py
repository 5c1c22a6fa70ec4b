"""Who is told of what, by real servers: a webhook and a mailbox; and that a release that is too old is told once."""

import json
import os
import socket
import subprocess
import sys
import time
from email import message_from_string, policy
from pathlib import Path

import pytest
from listeners import mailbox, webhook
from redis_fixture import empty_client, module_server  # noqa: F401
from shelves import KEYS, generation, publisher, shelf

from conf.connections import Alerts
from conf.settings import load_settings
from jobs import cli
from jobs.rim import alerting
from jobs.rim.alerting import Alert, deliver
from jobs.rim.history import History
from jobs.rim.lake import Lake
from jobs.rim.redis_release import read_release
from schemas.release import TIME_FORMAT

SOON = Alert("nightshelf: nightly failed\nbecause", {"event": "run_failed", "exit_code": 3, "line": None})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(alerting, "PAUSES_S", (0.0, 0.01, 0.01))


@pytest.fixture(name="hook")
def open_hook():
    with webhook() as server:
        yield server


@pytest.fixture(name="mails")
def open_mailbox():
    with mailbox() as server:
        yield server


def url(server, scheme="http", path="/secret-path"):
    return f"{scheme}://127.0.0.1:{server.server_address[1]}{path}"


def alerts(**changes) -> Alerts:
    quiet = {"webhook_url": "", "email_to": (), "email_from": "ns@shop.test", "smtp_url": ""}
    return Alerts(**quiet | {"max_age_hours": 30, "trending_max_age_hours": 3} | changes)


def told(alert=SOON, **changes) -> tuple[list[bool], list[str]]:
    said = []
    return deliver(alert, alerts(**changes), said.append), said


def test_a_webhook_gets_text_for_people_and_fields_for_programs(hook):
    assert told(webhook_url=url(hook)) == ([True], ["alert: told by webhook at 127.0.0.1"])
    fields = {"text": SOON.text, "event": "run_failed", "exit_code": 3, "line": None}
    assert hook.heard == [("/secret-path", "application/json", fields)]


@pytest.mark.parametrize(
    ("answers", "tries", "ended"),
    [
        ([503, 429, 200], 3, [True]),
        ([500, 500, 500, 500], 3, [False]),
        ([404], 1, [False]),
        ([302], 1, [False]),  # a POST that is sent elsewhere is sent to somebody else
    ],
)
def test_what_may_pass_is_tried_again_a_few_times(hook, answers, tries, ended):
    hook.answers[:] = answers
    delivered, said = told(webhook_url=url(hook))
    assert delivered == ended
    assert [path for path, _, _ in hook.heard] == ["/secret-path"] * tries
    assert not [line for line in said if "secret" in line]


def test_nobody_there_is_a_line_and_no_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    delivered, said = told(webhook_url=f"http://user:secret@127.0.0.1:{port}/secret")
    assert delivered == [False]
    assert said == [f"alert: webhook at 127.0.0.1 failed, try {n} of 3: URLError" for n in (1, 2, 3)]


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(alerting, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place, began = f"127.0.0.1:{silent.getsockname()[1]}", time.monotonic()
        wanted = {"webhook_url": f"http://{place}/", "email_to": ("a@shop.test",), "smtp_url": f"smtp://{place}"}
        assert told(**wanted)[0] == [False, False]
        assert time.monotonic() - began < 8  # six tries of TIMEOUT_S as shipped would take 24


def test_a_mail_says_the_same(mails):
    delivered, said = told(email_to=("a@shop.test", "b@shop.test"), smtp_url=url(mails, "smtp", ""))
    assert (delivered, said) == ([True], ["alert: told by e-mail by 127.0.0.1"])
    message = message_from_string(mails.heard[0], policy=policy.default)
    assert (message["Subject"], message["From"]) == ("nightshelf: nightly failed", "ns@shop.test")
    assert message["To"] == "a@shop.test, b@shop.test"
    assert message.get_content() == "nightshelf: nightly failed\nbecause\n\nevent: run_failed\nexit_code: 3\n"


@pytest.mark.parametrize(
    ("place", "to", "said"),
    [
        ("127.0.0.1", "a@nowhere.test", "alert: e-mail by 127.0.0.1 failed, try 3 of 3: SMTPRecipientsRefused"),
        ("me:secret@127.0.0.1", "a@shop.test", "alert: e-mail by 127.0.0.1 refused: it offers no TLS"),
    ],
)
def test_a_mail_that_is_not_taken_is_a_line(mails, place, to, said):
    server = f"smtp://{place}:{mails.server_address[1]}"
    delivered, lines = told(email_to=(to,), smtp_url=server)
    assert (delivered, mails.heard) == ([False], [])
    assert lines[-1].startswith(said)
    assert "secret" not in "".join(lines)


def run(monkeypatch, *argv: str, **env: str) -> int:
    for name, value in env.items():
        monkeypatch.setenv(f"NIGHTSHELF_{name}", value)
    return cli.main(list(argv))


def test_a_failed_night_is_told_with_all_that_is_known(monkeypatch, hook, capsys):
    argv = ["alert", "--dag=nightly", "--run=scheduled__x", "--reason=task_failure", "--task=gate", "--exit-code=3"]
    argv += ["--line=nightshelf: slates 1f: min_fill saw 0.1", "--url=http://af/runs/x", "--report=http://af/r.html"]
    argv += ["--interval", "2026-01-30T00:00:00+00:00", "2026-01-31T00:00:00+00:00", "--also", "report"]
    assert run(monkeypatch, *argv, ALERTS__WEBHOOK_URL=url(hook)) == 0
    sent = hook.heard[0][2]
    assert sent.pop("text").splitlines() == [
        "nightshelf: nightly failed at gate (exit code 3: the gate refused) for 2026-01-30T00:00:00Z to "
        "2026-01-31T00:00:00Z",
        "nightshelf: slates 1f: min_fill saw 0.1",
        "also failed: report",
        "run: http://af/runs/x",
        "report: http://af/r.html",
    ]
    assert (sent["event"], sent["task"], sent["exit_code"]) == ("run_failed", "gate", 3)
    assert (sent["data_interval_end"], sent["also_failed"]) == ("2026-01-31T00:00:00Z", ["report"])
    assert "secret" not in "".join(capsys.readouterr())


def test_little_may_be_known_and_nobody_need_listen(monkeypatch, hook, capsys):
    assert run(monkeypatch, "alert", "--dag=hourly", "--reason=timed_out") == 0
    assert "nobody is told" in capsys.readouterr().out
    assert run(monkeypatch, "alert", "--test") == 2
    assert run(monkeypatch, "alert", "--dag=hourly", "--reason=timed_out", ALERTS__WEBHOOK_URL=url(hook)) == 0
    assert hook.heard[0][2]["text"] == "nightshelf: hourly failed: timed_out"
    hook.answers[:] = [404]
    assert run(monkeypatch, "alert", "--test") == 75


def hours_ago(hours: float) -> str:
    return time.strftime(TIME_FORMAT, time.gmtime(time.time() - hours * 3600))


class Watched:
    """A Redis whose freshness is asked for, and what the webhook heard since the last look."""

    def __init__(self, monkeypatch, hook, server, tmp_path):
        self.hook = hook
        env = {"LAKE__URI": str(tmp_path), "REDIS__URL": server.url, "REDIS__NAMESPACE": KEYS.namespace}
        for name, value in (env | {"ALERTS__WEBHOOK_URL": url(hook)}).items():
            monkeypatch.setenv(f"NIGHTSHELF_{name}", value)

    def look(self, *arguments: str) -> tuple[int, list[str]]:
        self.hook.heard.clear()
        code = cli.main(["freshness", "--tell", *arguments])
        return code, [body["event"] for _, _, body in self.hook.heard]


@pytest.fixture(name="watched")
def open_watched(monkeypatch, hook, server, tmp_path):
    return Watched(monkeypatch, hook, server, tmp_path)


def publish(client, surface: str, hours: float) -> None:
    made = shelf(generation(surface, as_of=hours_ago(hours), seed=int(hours * 1000)), as_of=hours_ago(hours))
    publisher(client, load_settings()).publish(made)


def test_an_old_release_is_told_once_and_so_is_its_end(client, watched, hook, capsys):
    assert watched.look() == (0, [])
    assert "nothing was ever published" in capsys.readouterr().out
    publish(client, "for_you", 29)
    publish(client, "trending", 2)
    assert watched.look() == (0, [])
    assert "for_you: knows nothing after" in capsys.readouterr().out
    client.delete(KEYS.live)
    publish(client, "for_you", 31)
    publish(client, "trending", 2)
    hook.answers[:] = [500, 500, 500]
    assert watched.look() == (4, ["release_old"] * 3)
    assert watched.look() == (4, ["release_old"]), "nobody heard it, so it is told again"
    assert hook.heard[0][2]["lines"][0].endswith("31 h ago; allowed: 30 h (alerts.max_age_hours)")
    assert watched.look() == (4, [])
    publish(client, "trending", 2.5 - 1)
    publish(client, "for_you", 1)
    assert watched.look() == (0, ["release_fresh"])
    assert watched.look() == (0, [])


def test_trending_has_an_age_of_its_own(client, watched):
    publish(client, "for_you", 20)
    publish(client, "trending", 4)
    assert watched.look() == (4, ["release_old"])
    assert [line for line in watched.hook.heard[0][2]["lines"] if "trending_max_age_hours" in line]


def test_a_redis_that_is_away_is_an_incident_too(client, watched, monkeypatch, tmp_path, capsys):
    publish(client, "for_you", 1)
    assert watched.look() == (0, [])
    monkeypatch.setenv("NIGHTSHELF_REDIS__URL", f"unix://{tmp_path}/none.sock")
    assert watched.look() == (4, ["release_old"])
    assert "cannot be reached" in watched.hook.heard[0][2]["lines"][0]
    assert watched.look() == (4, [])


def test_a_redis_that_lost_what_was_live_is_one(client, watched, tmp_path):
    publish(client, "for_you", 1)
    History(Lake.open(load_settings().lake), KEYS.namespace).claim(read_release(client, KEYS))
    client.flushall()
    assert watched.look() == (4, ["release_old"])
    assert watched.hook.heard[0][2]["lines"][0].startswith("Redis is empty, and release 1 was live")


REFUSED = {"exit_code": 3, "line": "nightshelf: slates 1f: min_fill saw 0.1"}
PAGE = "reports/as_of=20260131T000000Z/v=0123456789abcdef.html"
NIGHT = {
    "callback": "tell",
    "states": {"report": "failed", "gate": "failed", "fit": "success"},
    "xcoms": {"gate.failure": REFUSED, "report.return_value": f"s3://lake/{PAGE}"},
}
WATCH = {"callback": "tell_once", "states": {"gate": "failed"}, "before": "success", "xcoms": {}}


@pytest.fixture(scope="module", name="called")
def callback_arguments() -> dict[str, list[str] | None]:
    cases = {
        "night": NIGHT,
        "out of time": {"callback": "tell"},
        "watch": WATCH,
        "watch again": WATCH | {"before": "failed"},
        "the first watch": WATCH | {"before": None},
        "old": WATCH | {"xcoms": {"gate.failure": {"exit_code": 4, "line": "for_you"}}},
    }
    env = os.environ | {"AIRFLOW__API__BASE_URL": "http://af/base/"}
    script, given = Path(__file__).with_name("callback_cases.py"), json.dumps(list(cases.values()))
    done = subprocess.run([sys.executable, script], input=given, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return dict(zip(cases, json.loads(found[7:]), strict=True))


def test_a_failed_run_is_told_by_its_first_failure(called):
    run = ["alert", "--dag", "nightly", "--run", "scheduled__2026-01-31T00:00:00+00:00", "--reason=task_failure"]
    run += ["--url=http://af/base/dags/nightly/runs/scheduled__2026-01-31T00%3A00%3A00%2B00%3A00"]
    how = ["--task=gate", "--exit-code=3", f"--line={REFUSED['line']}", f"--report=http://af/base/nightshelf/{PAGE}"]
    interval = ["--interval", "2026-01-30T00:00:00+00:00", "2026-01-31T00:00:00+00:00"]
    assert called["night"] == [*run, *how, *interval, "--also", "report"]
    assert called["out of time"] == run


def test_the_watch_tells_of_a_failure_once_and_leaves_what_is_old_to_its_command(called):
    assert called["watch"][-4:] == ["--task=gate", *called["night"][-5:-2]]
    assert called["the first watch"] == called["watch"]
    assert (called["watch again"], called["old"]) == (None, None)
