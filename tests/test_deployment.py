"""Container, compose and Kubernetes files against what they name: settings, commands, extras, routes, ports, files.

No container is built or started here: there is nothing to do it with. What they would run is in other tests.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
import threading
from configparser import ConfigParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from conf.settings import Settings, load_settings
from deploy import costs
from jobs.cli import COMMANDS
from jobs.rim.lineage import MAKERS
from schemas.redis_url import place_of
from schemas.routes import ROUTES
from serving.__main__ import STOP_S

ROOT = Path(__file__).absolute().parents[1]
CONTAINERS, KUBERNETES = ROOT / "deploy" / "containers", ROOT / "deploy" / "kubernetes"
DOCKERFILE = (CONTAINERS / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
FILES = [path for folder in (CONTAINERS, KUBERNETES) for path in sorted(folder.iterdir())]
MANIFESTS = [one for path in sorted(KUBERNETES.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
DOCS = [ROOT / "docs" / name for name in ("cluster.md", "deployment.md", "warm.md")]


def manifest(kind, name):
    (found,) = [one for one in MANIFESTS if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def pods():
    """Name and template of each Deployment."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in MANIFESTS if one["kind"] == "Deployment"
    }


def containers():
    return [one for pod in pods().values() for one in (*pod.get("initContainers", ()), *pod["containers"])]


def stages():
    """Stage -> its instructions."""
    found = {}
    for line in re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines():
        if match := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            lines = found[match[2]] = [f"FROM {match[1]}"]
        elif line and not line.startswith("#") and found:
            lines.append(line)
    return found


# names


def settings_named(text):
    return set(re.findall(r"NIGHTSHELF_[A-Z0-9]+__[A-Z0-9_]*[A-Z0-9]", text))


@pytest.mark.parametrize("path", [*FILES, *DOCS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_setting_named_there_is_one(path):
    known = {
        f"NIGHTSHELF_{part}__{key}".upper()
        for part, f in Settings.model_fields.items()
        for key in f.annotation.model_fields
    }
    assert settings_named(path.read_text()) <= known


def test_every_setting_of_airflow_named_there_is_one():
    folder = Path(importlib.util.find_spec("airflow").submodule_search_locations[0])
    known = yaml.safe_load((folder / "config_templates" / "config.yml").read_text())
    text = "\n".join(path.read_text() for path in FILES)
    named = set(re.findall(r"AIRFLOW__([A-Z_]+?)__([A-Z_]*[A-Z])\b", text))
    assert len(named) > 8
    assert [one for one in named if one[1].lower() not in known.get(one[0].lower(), {}).get("options", {})] == []


def test_the_example_settings_and_urls_are_allowed(monkeypatch):
    monkeypatch.setenv("NIGHTSHELF_CONF", str(KUBERNETES / "settings.toml"))
    for name, value in manifest("Secret", "nightshelf")["stringData"].items():
        monkeypatch.setenv(name, value)
    found = load_settings()
    assert found.identity.secret_bytes()
    assert place_of(found.redis.url) is None  # one server, by its own URL


def extras():
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return set(parser["options.extras_require"])


def test_extras_and_sources_of_the_images_are_there():
    installed = {name for found in re.findall(r"\.whl\)\[([a-z,]+)\]", DOCKERFILE) for name in found.split(",")}
    assert installed == {"serving", "warm", "jobs", "kafka", "dags", "postgres"}
    assert installed <= extras()
    copied = [line.split()[1:-1] for lines in stages().values() for line in lines if re.match(r"COPY (?!--from)", line)]
    sources = {source for line in copied for source in line}
    assert all((ROOT / source).exists() for source in sources)
    ignored = (CONTAINERS / "Dockerfile.dockerignore").read_text().splitlines()
    assert {source.split("/")[0] for source in sources} == {line[1:] for line in ignored if line.startswith("!")}


def test_images_are_pinned_and_run_as_nobody():
    versions = re.findall(r"^ARG PYTHON=(\S+)", DOCKERFILE, re.MULTILINE)
    outside = [one["image"] for one in COMPOSE["services"].values() if not one["image"].startswith("nightshelf-")]
    assert len(outside) == 3
    assert all(re.search(r":.*\d+\.?\d", image) for image in outside)
    assert versions == ["3.11-slim-bookworm"]
    for stage in ("serving", "jobs", "airflow"):
        assert [line for line in stages()[stage] if line.startswith("USER")] == ["USER 10001"]
        assert f"uid {10001}" in DOCKERFILE
    for pod in pods().values():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 10001
    assert (
        re.search(r"uv==([\d.]+)", DOCKERFILE)[1]
        == re.search(r'UV = "uv==([\d.]+)"', (ROOT / "deploy" / "embedded" / "install.py").read_text())[1]
    )


def test_what_is_built_is_what_is_run():
    built = {one["image"]: one["build"] for one in COMPOSE["services"].values() if "build" in one}
    assert set(built) == {"nightshelf-airflow", "nightshelf-serving"}
    for image, build in built.items():
        assert build["target"] == image.removeprefix("nightshelf-")
        assert build["target"] in stages()
        assert (CONTAINERS / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
    named = {one["name"] for one in manifest_of_kustomize()["images"]}
    assert {container["image"] for container in containers()} == named == set(built)


def manifest_of_kustomize():
    (found,) = [one for one in MANIFESTS if one["kind"] == "Kustomization"]
    there = {path.name for path in KUBERNETES.iterdir()} | {"secrets.yaml"}
    assert set(found["resources"]) | {"settings.toml"} <= there
    return found


# commands


def commands():
    """Every command line of ours in the files."""
    for lines in stages().values():
        yield from (yaml.safe_load(line[4:]) for line in lines if line.startswith("CMD"))
    for service in COMPOSE["services"].values():
        if service["image"].startswith("nightshelf-"):
            yield from ([service["command"]] if "command" in service else [])
            check = service.get("healthcheck", {}).get("test", ["CMD"])
            yield from ([check[1:]] if len(check) > 1 else [])
    for container in containers():
        yield from ([container["args"]] if "args" in container else [])
        yield from (probe["exec"]["command"] for probe in probes(container) if "exec" in probe)


def probes(container):
    return [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container]


def test_every_command_exists():
    airflow = Path(importlib.util.find_spec("airflow").submodule_search_locations[0]) / "cli" / "commands"
    seen = set()
    for words in commands():
        program, first = words[0], words[1]
        seen.add(program)
        if program == "airflow":
            module = first.replace("-", "_")
            assert list(airflow.glob(f"{module}*_command.py")), words
        elif program == "nightshelf":
            assert first in {*COMMANDS, "--help"}, words
        else:
            assert program == "python", words
            if first == "-m":
                assert importlib.util.find_spec(f"{words[2]}.__main__"), words
            else:
                compile(words[2], "<healthcheck>", "exec")
    assert seen == {"airflow", "nightshelf", "python"}


@pytest.mark.parametrize("status", [200, 503])
def test_the_health_check_of_serving_tells_alive_from_not(status):
    """Run as the container would, with the port of a server of ours."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    (check,) = [line for line in stages()["serving"] if line.startswith("HEALTHCHECK")]
    _, _, code = yaml.safe_load(check[check.index("[") :])
    done = subprocess.run(
        [sys.executable, "-c", code.replace(":8330", f":{server.server_port}")], stderr=subprocess.DEVNULL
    )
    server.shutdown()
    server.server_close()
    assert (done.returncode == 0) == (status == 200)


def test_the_lines_of_the_documents_name_commands_that_exist():
    for path in DOCS:
        for line in re.findall(r"^(?:\$ )?(?:NIGHTSHELF_\S+ )*nightshelf (.+)$", path.read_text(), re.MULTILINE):
            words = shlex.split(line.partition("  #")[0])
            if words[0] in COMMANDS:
                continue
            assert re.match(r"[a-z_]+: |\d", line), f"{path.name}: {line}"


# ports, probes, times


def test_probes_ask_routes_that_exist_at_the_port_that_is_listened_on(monkeypatch):
    monkeypatch.setenv("NIGHTSHELF_CONF", str(KUBERNETES / "settings.toml"))
    settings = load_settings().serving
    (serving,) = pods()["serving"]["containers"]
    routes = {route.path for route in ROUTES}
    asked = {name: serving[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: one["path"] for name, one in asked.items()} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {one["path"] for one in asked.values()} <= routes
    (port,) = serving["ports"]
    assert port["containerPort"] == settings.port == load_settings().serving.port
    assert {one["port"] for one in asked.values()} == {port["name"]}
    assert manifest("Service", "serving")["spec"]["ports"][0]["targetPort"] == port["name"]
    assert settings.host == "0.0.0.0"
    assert any(settings.cache_dir.startswith(mount["mountPath"]) for mount in serving["volumeMounts"])
    assert "EXPOSE 8330" in stages()["serving"]
    assert COMPOSE["services"]["serving"]["ports"] == ["127.0.0.1:8330:8330"]


def test_a_pod_has_time_to_drain_and_enough_stay(monkeypatch):
    monkeypatch.setenv("NIGHTSHELF_CONF", str(KUBERNETES / "settings.toml"))
    drain_s, pod = load_settings().serving.drain_s, pods()["serving"]
    ready = pod["containers"][0]["readinessProbe"]
    assert drain_s >= ready["periodSeconds"] * ready["failureThreshold"]  # seen before it stops
    assert pod["terminationGracePeriodSeconds"] > drain_s + STOP_S
    compose = COMPOSE["services"]["serving"]
    assert int(compose["stop_grace_period"][:-1]) > int(compose["environment"]["NIGHTSHELF_SERVING__DRAIN_S"]) + STOP_S
    deployment = manifest("Deployment", "serving")["spec"]
    assert manifest("PodDisruptionBudget", "serving")["spec"]["minAvailable"] < deployment["replicas"]
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]


def test_compose_waits_for_what_a_service_needs():
    services = COMPOSE["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for the health of {other}"
            else:
                assert services[other]["restart"] == "no"
    assert "noeviction" in services["redis"]["command"]
    used = {mount.split(":")[0] for one in services.values() for mount in one.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])
    wanted = set(re.findall(r"\$\{(\w+)", (CONTAINERS / "compose.yaml").read_text()))
    assert wanted == set(re.findall(r"^(\w+)=", (CONTAINERS / "env.example").read_text(), re.MULTILINE))


# the documents


def blocks(path, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def submitted():
    """Each way to submit that docs/cluster.md has: its variables of ours, and its steps."""
    for block in blocks(ROOT / "docs" / "cluster.md", "console"):
        words = [shlex.split(line, comments=True) for line in block.splitlines()]
        exported = dict(word.split("=", 1) for line in words if line[:1] == ["export"] for word in line[1:])
        steps = [
            word for line in words if line[:2] == ["nightshelf", "run"] for word in line[2 : line.index("--as-of")]
        ]
        if steps:
            yield {name: value for name, value in exported.items() if name.startswith("NIGHTSHELF_")}, steps


def test_the_lines_to_submit_are_settings_and_steps(tmp_path, monkeypatch):
    (toml,) = blocks(ROOT / "docs" / "cluster.md", "toml")
    (tmp_path / "settings.toml").write_text(toml)
    ways = list(submitted())
    masters = []
    for variables, steps in ways:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, str(tmp_path / "settings.toml") if name == "NIGHTSHELF_CONF" else value)
            masters.append(load_settings().spark.master.partition(":")[0])
        assert set(steps) <= set(MAKERS.values())
    assert masters == ["spark", "yarn", "k8s"]


def test_what_it_costs_is_as_the_document_says():
    warm = costs.Plan(10**6, cold=0.5, keep=3, ttl_days=30, copies=2, reads=10**6)
    assert warm.redis_gib == pytest.approx(500_000 * 742 * 4 * 1.25 / 2**30)
    assert warm.writes == 30 * 500_000  # a row is below a kibibyte
    assert warm.stored_gb == pytest.approx(500_000 * 30 * 666 / 1e9)
    cost = warm.monthly(costs.Prices(write=1, read=2, stored_gb=3, redis_gib=4))
    assert cost["Redis"] == pytest.approx(2 * warm.redis_gib * 4)
    assert (cost["warm writes"], cost["warm reads"]) == (warm.writes, 2 * 10**6)
    assert costs.Plan(10**6).monthly(costs.Prices())["warm reads"] == 0
    printed = subprocess.run([sys.executable, "-m", "deploy.costs"], cwd=ROOT, capture_output=True, text=True).stdout
    assert printed in (ROOT / "docs" / "deployment.md").read_text()


def test_the_scheduler_has_the_memory_its_tasks_may_take(monkeypatch):
    monkeypatch.setenv("NIGHTSHELF_CONF", str(KUBERNETES / "settings.toml"))
    (scheduler,) = pods()["airflow-scheduler"]["containers"]
    limit = scheduler["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) >= load_settings().resources.memory_gb + 4
