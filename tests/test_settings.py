"""Settings: what is documented is what holds, and what is not allowed is refused in one line."""

import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from conf.settings import CONF_DIR, DEFAULTS, Settings, SettingsError, load_settings

OPTIONS = [
    (section, key, field)
    for section, part in Settings.model_fields.items()
    for key, field in part.annotation.model_fields.items()
    if (section, key) != ("identity", "secret")  # the one option without a default
]
UNITS = {"_days": "in days", "_hours": "in hours", "_s": "in seconds", "_ms": "in ms", "_mb": "in MiB"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("NIGHTSHELF_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def conf_file(tmp_path, monkeypatch):
    """Write a file and name it in NIGHTSHELF_CONF."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "mine.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        monkeypatch.setenv("NIGHTSHELF_CONF", str(path))
        return path

    return write


def documented(text: str) -> dict[tuple[str, str], str]:
    """The comment right above each option of a file such as default.toml."""
    found, section, above = {}, "", ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif " = " in line and not line.startswith("#"):
            found[section, line.partition(" = ")[0]] = above
        above = line.removeprefix("# ") if line.startswith("# ") else ""
    return found


DOCS = documented(DEFAULTS.read_text())


def test_default_toml_names_every_option_and_nothing_else():
    assert set(DOCS) == {(section, key) for section, key, _ in OPTIONS}


@pytest.mark.parametrize(("section", "key", "field"), OPTIONS, ids=lambda value: value if type(value) is str else "")
def test_the_line_above_an_option_tells_its_meaning_unit_range_and_default(section, key, field):
    doc = DOCS[section, key]
    meaning, _, default = doc.rpartition(" Default: ")
    assert len(meaning) > 10, f"{section}.{key} is not explained on the line above: {doc!r}"
    value = getattr(getattr(load_settings(), section), key)
    shown = {
        "true": "True",
        "false": "False",
        "the first four": str(("category", "country", "device", "age_band")),
        '""': "",
        "[]": "()",
    }.get(default, default)
    value = value.get_secret_value() if isinstance(value, SecretStr) else value
    assert str(value) == shown or (isinstance(value, float | int) and float(shown) == value)
    bounds = {type(m).__name__: m for m in field.metadata}
    if "Ge" in bounds:
        assert f" {bounds['Ge'].ge:g} to {int(bounds['Le'].le)}." in doc, f"range of {section}.{key}: {doc!r}"
    for suffix, unit in UNITS.items():
        if key.endswith(suffix):
            assert unit in doc, f"unit of {section}.{key}: {doc!r}"


def test_later_layers_win(conf_file, monkeypatch):
    conf_file("[recipe]\nevery_days = 8\nmax_events = 9000\nseed = 10\n")
    monkeypatch.setenv("NIGHTSHELF_RECIPE__MAX_EVENTS", "19000")
    monkeypatch.setenv("NIGHTSHELF_RECIPE__SEED", "20")
    settings = load_settings(recipe={"seed": 30})
    recipe = settings.recipe
    assert (recipe.every_days, recipe.max_events, recipe.seed) == (8, 19_000, 30)
    assert settings.cooccurrence.shrink == 3.0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[recipe]\nevery_days = 0\n", ["recipe.every_days = 0", "a whole number from 1 to 90"]),
        ("[recipe]\nevery_days = 91\n", ["recipe.every_days = 91", "a whole number from 1 to 90"]),
        ("[recipe]\nevery_days = 'many'\n", ["recipe.every_days = 'many'", "a whole number from 1 to 90"]),
        ("[cooccurrence]\nshrink = nan\n", ["cooccurrence.shrink = nan", "a number from 0 to 1000"]),
        ("[cooccurrence]\nscore = 'jaccard'\n", ["cooccurrence.score = 'jaccard'", "cosine", "lift", "llr"]),
        ("[trending]\nsegments = ['moon']\n", ["trending.segments", "'moon'", "category", "age_band"]),
        ("[redis]\nurl = 'localhost'\n", ["redis.url = 'localhost'", "begins with redis://, rediss://, unix://"]),
        ("[redis]\nurl = 'sentinel://a:1'\n", ["redis.url = 'sentinel://a:1'", "sentinel://hosts/service"]),
        (
            "[airflow]\ndatabase = 'mysql://a/b'\n",
            ["airflow.database = 'mysql://a/b'", "postgresql://user:password@host"],
        ),
        (
            "[alerts]\nwebhook_url = 'hooks.example'\n",
            ["alerts.webhook_url = (hidden)", "begins with https://, http://"],
        ),
        ("[alerts]\nsmtp_url = 'smtp://a:b@host:x'\n", ["alerts.smtp_url = (hidden)", "begins with smtp://, smtps://"]),
        ("[alerts]\nemail_to = ['ops']\n", ["alerts.email_to.0 = 'ops'", "a list of e-mail addresses"]),
        ("[redis]\nnamespace = 'A'\n", ["redis.namespace = 'A'", "1 to 32 of the characters a to z"]),
        ("[lake]\nuri = 3\n", ["lake.uri = 3", "is no text", "allowed: text of 1 or more characters"]),
        ("[trending]\nsegments = 'country'\n", ["trending.segments = 'country'", "is no list", "any of category, "]),
        ("[recipe]\nevery_dais = 8\n", ["recipe.every_dais", "no such setting", "default.toml"]),
        ("[moon]\nphase = 1\n", ["moon", "no such setting", "default.toml"]),
        ("recipe = 3\n", ["recipe = 3", "default.toml"]),
        ("[recipe\n", ["mine.toml", "not TOML", "line 1"]),
        (b"\xff\xfe", ["mine.toml", "not TOML"]),
    ],
)
def test_a_wrong_file_is_refused_with_key_value_and_what_is_allowed(conf_file, content, told):
    conf_file(content)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert all(part in str(refused.value) for part in told), str(refused.value)
    assert "\n" not in str(refused.value)
    assert not re.search(r"Literal|typing|tuple|dict|class|instance|\^\(|pattern", str(refused.value)), "Python's words"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("NIGHTSHELF_RECIPE__EVERY_DAYS", "0", ["recipe.every_days = '0'", "a whole number from 1 to 90"]),
        ("NIGHTSHELF_RECIPE__EVERY_DAIS", "8", ["NIGHTSHELF_RECIPE__EVERY_DAIS", "no such setting"]),
        ("NIGHTSHELF_MOON", "1", ["NIGHTSHELF_MOON", "no such setting"]),
        (
            "NIGHTSHELF_TRENDING__SEGMENTS",
            "category",
            [
                "setting trending.segments = 'category' (NIGHTSHELF_TRENDING__SEGMENTS): is no JSON; allowed: a list "
                "of any of category, country, device, age_band, daypart, as JSON such as '[\"category\"]'"
            ],
        ),
        ("NIGHTSHELF_CONF", "/nowhere/mine.toml", ["NIGHTSHELF_CONF", "/nowhere/mine.toml", "no such file"]),
    ],
)
def test_a_wrong_variable_is_refused_by_name(monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert all(part in str(refused.value) for part in told), str(refused.value)


def test_default_toml_says_where_relative_paths_start():
    assert "Relative paths start at the working folder" in DEFAULTS.read_text().partition("[")[0]


def test_several_mistakes_come_in_one_message(conf_file):
    conf_file("[recipe]\nevery_days = 0\n[lake]\nurl = 'x'\n")
    with pytest.raises(SettingsError, match=r"setting lake\.url: no such setting.*; setting recipe\.every_days = 0"):
        load_settings()


def test_settings_are_frozen():
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.recipe = None
    with pytest.raises(ValidationError, match="frozen"):
        settings.recipe.every_days = 8
    assert isinstance(settings.trending.segments, tuple)


def test_the_secret_has_no_default(tmp_path):
    identity = load_settings(identity={"secret_file": str(tmp_path / "none")}).identity
    assert identity.secret is None
    with pytest.raises(SettingsError, match=r"identity\.secret_file = .*none.*NIGHTSHELF_IDENTITY__SECRET"):
        identity.secret_bytes()


@pytest.mark.parametrize("length", [0, 15])
def test_a_short_secret_is_refused(tmp_path, monkeypatch, length):
    path = tmp_path / "secret"
    path.write_text("s" * length + "\n")
    with pytest.raises(SettingsError, match=f"{length} bytes; allowed: 16 or more"):
        load_settings(identity={"secret_file": str(path)}).identity.secret_bytes()
    monkeypatch.setenv("NIGHTSHELF_IDENTITY__SECRET", "s" * length)
    with pytest.raises(SettingsError, match=f"{length} bytes; allowed: 16 or more"):
        load_settings().identity.secret_bytes()


def test_the_environment_wins_over_the_secret_file(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_text("a secret of the file\n")
    settings = load_settings(identity={"secret_file": str(path)})
    assert settings.identity.secret_bytes() == b"a secret of the file"
    monkeypatch.setenv("NIGHTSHELF_IDENTITY__SECRET", "a secret of the environment")
    settings = load_settings(identity={"secret_file": str(path)})
    assert settings.identity.secret_bytes() == b"a secret of the environment"


def test_a_secret_is_never_shown(monkeypatch, conf_file):
    monkeypatch.setenv("NIGHTSHELF_IDENTITY__SECRET", "a secret of the environment")
    assert "a secret" not in f"{load_settings()!r} {load_settings().model_dump_json()}"
    monkeypatch.delenv("NIGHTSHELF_IDENTITY__SECRET")
    conf_file("[identity]\nsecret = 123456789\n")
    with pytest.raises(SettingsError, match=r"identity\.secret") as refused:
        load_settings()
    assert "123456789" not in str(refused.value)


def test_the_production_example_loads(monkeypatch):
    monkeypatch.setenv("NIGHTSHELF_CONF", str(CONF_DIR / "prod.example.toml"))
    settings = load_settings()
    assert settings.lake.uri.startswith("s3://")
    assert settings.redis.url.startswith("rediss://")
    assert re.match(r"k8s://|yarn|spark://", settings.spark.master)
    assert settings.identity.secret is None
