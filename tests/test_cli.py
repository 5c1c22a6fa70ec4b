"""The command: exit codes, help without Spark, and one line instead of a traceback."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from lake_fixtures import small_lake

from jobs import cli
from jobs.rim.arguments import moment
from jobs.rim.errors import GateRefused, TemporaryError, UsageError

ROOT = Path(__file__).parents[1]
TMP = tempfile.gettempdir()
AS_OF = ["--as-of", "2026-01-11T00:00:00Z"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command on the lake of this test; gives exit code, output and complaint."""
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(tmp_path / "lake"))
    monkeypatch.setenv("NIGHTSHELF_LAKE__MIN_FREE_MB", "0")

    def call(*argv: str) -> tuple[int, str, str]:
        try:
            code = cli.main(list(argv))
        except SystemExit as end:  # argparse's own
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_every_command_helps_without_importing_spark():
    """In a process of its own: this one may have imported anything."""
    code = (
        "import sys\nfrom jobs.cli import COMMANDS, main\n"
        "for argv in ([], *([name] for name in COMMANDS)):\n"
        "    try:\n        main([*argv, '--help'])\n"
        "    except SystemExit as end:\n        print('\\nEND', *argv, end.code)\n"
        "    print('HEAVY', *({'pyspark', 'implicit', 'great_expectations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("END")] == ["END 0", *(f"END {name} 0" for name in cli.COMMANDS)]
    assert {line.strip() for line in lines if line.startswith("HEAVY")} == {"HEAVY"}
    told = " ".join(done.stdout.split())
    assert all(summary in told for _, summary in cli.COMMANDS.values())


def test_the_command_itself_ends_with_the_code(tmp_path):
    command = [sys.executable, "-m", "jobs.cli", "snapshot"]
    variables = {"PYTHONPATH": str(ROOT), "NIGHTSHELF_LAKE__URI": str(tmp_path / "lake")}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    bad = subprocess.run(
        command, cwd=tmp_path, env=variables | {"NIGHTSHELF_CANDIDATES__N_ITEMS": "3"}, capture_output=True, text=True
    )
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("nightshelf: setting candidates.n_items = '3'")
    assert bad.stderr.count("\n") == 1


def test_snapshot_prints_the_newest_batch(run, tmp_path):
    small_lake(tmp_path, events=[{}])
    assert run("snapshot") == (0, "1\n", "")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "COMMAND"),
        (["shelve"], "invalid choice: 'shelve'"),
        (["run"], "STEP"),
        (["run", "fit"], "--as-of"),
        (["run", "dream", *AS_OF], "invalid choice: 'dream' (choose from interactions, cooccurrence, recipe, fit"),
        (["run", "fit", "--as-of", "yesterday"], "'yesterday' is no ISO 8601 moment such as 2026-01-31T00:00:00Z"),
        (["run", "fit", "--as-of", "0001-01-01T00:00+05:00"], "is no ISO 8601 moment"),
        (["run", "fit", *AS_OF, "--snapshot", "new"], "invalid int value: 'new'"),
        (["gate", *AS_OF], "--tables"),
        (
            ["gate", "--tables", "events", *AS_OF],
            "invalid choice: 'events' (choose from item_neighbors, content_neighbors, ",
        ),
    ],
)
def test_wrong_arguments_end_with_2_and_say_what_is_allowed(run, argv, told):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert told in err.splitlines()[-1].replace("', '", ", ").replace("from '", "from ")  # quotes hang on the version
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["run", "fit"], ["gate", "--tables", "slates"]])
def test_an_empty_lake_is_told_in_one_line(run, command):
    code, _, err = run(*command, *AS_OF)
    assert (code, err) == (2, "nightshelf: the lake is empty: run `nightshelf ingest` first\n")


@pytest.mark.parametrize(("snapshot", "code"), [("2", 2), ("-1", 2), ("0", 2)])
def test_a_snapshot_there_is_not_ends_with_2(run, tmp_path, snapshot, code):
    small_lake(tmp_path, events=[{}])
    found, _, err = run("run", "fit", *AS_OF, f"--snapshot={snapshot}")
    assert (found, err.count("\n")) == (code, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NIGHTSHELF_CANDIDATES__N_THINGS", "8"),
        ("NIGHTSHELF_CANDIDATES__N_ITEMS", "3"),
        ("NIGHTSHELF_CONF", "/nowhere.toml"),
    ],
)
def test_wrong_settings_are_told_in_one_line(run, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    code, _, err = run("snapshot")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("nightshelf: ")
    assert name in err or "candidates.n_items = '3'" in err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[diversity]\nmax_per_category = -1\n", "mine.toml: setting diversity.max_per_category = -1"),
        ("[diversity\n", "mine.toml: not TOML"),
        (None, "mine.toml' cannot be read (No such file or directory)"),
    ],
)
@pytest.mark.parametrize("command", [["run", "interactions", "slates"], ["gate", "--tables", "slates"]])
def test_wrong_business_rules_end_with_2_before_anything_starts(run, tmp_path, monkeypatch, command, content, told):
    small_lake(tmp_path, events=[{}])
    mine = tmp_path / "mine.toml"
    if content is not None:
        mine.write_text(content)
    monkeypatch.setenv("NIGHTSHELF_SLATES__RULES_FILE", str(mine))
    code, out, err = run(*command, *AS_OF)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("nightshelf: ")
    assert told in err
    assert not (tmp_path / "lake/manifests").exists()


def test_a_step_whose_input_is_missing_may_be_tried_again(run, tmp_path):
    small_lake(tmp_path, events=[{}])
    code, _, err = run("run", "fit", *AS_OF)
    assert (code, err.count("\n")) == (75, 1)
    assert "run `nightshelf run recipe --as-of 2026-01-11T00:00:00Z --snapshot 1` first" in err


@pytest.mark.parametrize(
    ("steps", "missing"),
    [(["slates"], "candidates"), (["interactions", "cooccurrence", "slates"], "candidates"), (["fit"], "recipe")],
)
def test_missing_inputs_are_told_before_spark_starts(run, tmp_path, monkeypatch, steps, missing):
    def no_spark(*_):
        raise AssertionError("Spark was started")

    monkeypatch.setattr("jobs.rim.spark_session.spark_session", no_spark)
    small_lake(tmp_path, events=[{}])
    code, _, err = run("run", *steps, *AS_OF)
    assert (code, err.count("\n")) == (75, 1)
    assert f"run `nightshelf run {missing} --as-of" in err


def test_a_lake_that_is_a_file_is_told_in_one_line(run, tmp_path):
    (tmp_path / "lake").write_text("no folder")
    assert run("snapshot")[0] == 0  # reads as empty
    code, _, err = run("run", "fit", *AS_OF)
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UsageError("wrong"), 2, "wrong"),
        (GateRefused("refused"), 3, "refused"),
        (TemporaryError("away"), 75, "away"),
        (OSError(28, "No space left on device", "/lake/x"), 75, "disk full: /lake/x; free some space and run again"),
        (OSError(122, "Disk quota exceeded"), 75, f"disk full: that of the lake, of the working folder or of {TMP}; "),
        (PermissionError(13, "Permission denied", "/lake/x"), 75, "/lake/x: Permission denied"),
        (BrokenPipeError(32, "Broken pipe"), 75, "[Errno 32] Broken pipe"),  # a socket's: output is still read here
        (KeyboardInterrupt(), 130, None),
    ],
)
def test_every_expected_failure_has_its_code(run, monkeypatch, error, code, told):
    def fail(*_):
        raise error

    monkeypatch.setattr("jobs.snapshot.main", fail)
    found, out, err = run("snapshot")
    assert (found, out) == (code, "")
    assert err.startswith(f"nightshelf: {told}") if told else err == ""
    assert err.count("\n") == (told is not None)


@pytest.mark.parametrize("lines", [1, 50_000], ids=["when it ends", "in the midst"])
def test_output_nobody_reads_ends_quietly(tmp_path, lines):
    """As of ``nightshelf … | head -1``, in a process of its own: its standard output is a pipe closed at once."""
    code = (
        "import sys\nfrom jobs import cli, snapshot\n"
        f"snapshot.main = lambda *_: print('a line\\n' * {lines}) or 0\n"
        "sys.stdin.read()\nsys.exit(cli.main(['snapshot']))"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes) as command:
        command.stdout.close()
        command.stdin.close()
        assert (command.stderr.read(), command.wait()) == (b"", 141)


def test_a_defect_is_not_hidden(run, monkeypatch):
    """Only what is expected becomes one line: a fault of ours keeps its traceback."""
    monkeypatch.setattr("jobs.snapshot.main", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("snapshot")


def test_moments_are_utc_and_whole_seconds():

    assert moment("2026-01-11").isoformat() == "2026-01-11T00:00:00+00:00"
    assert moment("2026-01-11T05:30:00+05:30") == moment("2026-01-11T00:00:00Z") == moment("2026-01-11T00:00:00.9")
