"""Finds a source description by name or path; every mistake becomes one line that says where and what is allowed."""

import difflib
import tomllib
from pathlib import Path

from pydantic import BaseModel, ValidationError

from conf.settings import SOURCES_DIR
from jobs.rim.errors import UsageError
from jobs.sources.description import Description


def known_sources() -> list[str]:
    """Names of the shipped descriptions."""
    return sorted(path.stem for path in SOURCES_DIR.glob("*.toml") if path.stem != "template")


def find_description(name: str) -> Path:
    """A shipped source's file, or the path itself.

    Raises:
        UsageError: neither; names the known sources and the nearest.
    """
    if name in known_sources():
        return SOURCES_DIR / f"{name}.toml"
    path = Path(name)
    if path.suffix == ".toml" or "/" in name:
        if not path.is_file():
            raise UsageError(f"source description {name}: no such file")
        return path
    near = difflib.get_close_matches(name, known_sources(), n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"no source {name!r}; known: {', '.join(known_sources())}, or the path of a .toml file{hint}")


def load_description(name: str) -> Description:
    """Read and check the description of a source.

    Raises:
        UsageError: not found, not TOML, or a key or value is not allowed.
    """
    path = find_description(name)
    try:
        return parse_description(path.read_bytes(), path.name)
    except OSError as error:
        raise UsageError(f"source description {path}: {error.strerror}") from None


def parse_description(data: bytes, where: str) -> Description:
    """A description from the bytes of its TOML file."""
    try:
        return Description.model_validate(tomllib.loads(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{where}: {'; '.join(explain(problem) for problem in causes(error.errors()))}") from None


def causes(problems: list[dict]) -> list[dict]:
    """Without lists that are too short only because a part of them is wrong."""
    places = [problem["loc"] for problem in problems]

    def follows(problem: dict) -> bool:
        loc = problem["loc"]
        return problem["type"] == "too_short" and any(p != loc and p[: len(loc)] == loc for p in places)

    return [problem for problem in problems if not follows(problem)]


def explain(problem: dict) -> str:
    """One pydantic problem as ``events.0.zone = 'x': what is allowed``."""
    key = ".".join(str(part) for part in problem["loc"]) or "description"
    if problem["type"] == "extra_forbidden":
        allowed = allowed_keys(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        return f"{key}: no such setting; {f'did you mean {near[0]}?' if near else 'allowed: ' + ', '.join(allowed)}"
    if problem["type"] == "missing":
        return f"{key}: missing; add it (template.toml explains every line)"
    if problem["type"] == "too_short":
        return f"{key}: empty; give at least one (template.toml explains every line)"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if isinstance(problem["input"], dict) else f"{key} = {problem['input']!r}: {message}"


def allowed_keys(loc: tuple) -> list[str]:
    """The keys of the part of a description that ``loc`` leads to."""
    part: object = Description
    for step in (step for step in loc if isinstance(step, str)):
        part = next(iter(models_in(part.model_fields[step].annotation)), part) if step in part.model_fields else part
    return list(part.model_fields)


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The models an annotation such as ``tuple[Events, ...] | None`` mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in models_in(part)]
