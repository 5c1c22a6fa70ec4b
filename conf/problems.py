"""What is wrong with a setting, in one line: key, value and what is allowed."""

import json
from collections.abc import Mapping
from typing import Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

TYPES = {int: "a whole number", float: "a number", bool: "true or false"}  # all else is text
WRONG = {  # pydantic's problem → in words; its own where it speaks of numbers
    "int_from_float": "is no whole number",
    "int_parsing": "is no whole number",
    "int_type": "is no whole number",
    "float_parsing": "is no number",
    "float_type": "is no number",
    "literal_error": "is not known",
    "missing": "is missing",
    "model_attributes_type": "is no section",
    "model_type": "is no section",
    "string_pattern_mismatch": "has another form",
    "string_too_short": "is too short",
    "string_type": "is no text",
    "tuple_type": "is no list",
}


def is_secret(field: FieldInfo | None) -> bool:
    """Whether its value is never shown, not even to say what is wrong."""
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))


def explain(problem: dict, root: type[BaseModel], file: str) -> str:
    """One pydantic problem as ``key = value: what is allowed``; ``file`` documents all settings of ``root``."""
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"setting {key}: no such setting; see {file} for all"
    field = field_at(root, problem["loc"])
    hidden = is_secret(field_at(root, problem["loc"][:2]))  # of a table of secrets each value is one
    value = "(not given)" if problem["type"] == "missing" else "(hidden)" if hidden else repr(problem["input"])
    wrong = WRONG.get(problem["type"]) or problem["msg"].replace("Input should", "should", 1)
    return f"setting {key} = {value}: {wrong}; allowed: {allowed(field) if field else f'see {file}'}"


def explain_variables(variables: Mapping[str, str], prefix: str, root: type[BaseModel]) -> str:
    """The environment variables that give a list or table but hold no JSON, each as ``explain`` would tell it."""
    lines = []
    for name, value in sorted(variables.items()):
        path = tuple(name.lower().removeprefix(prefix.lower()).split("__"))
        field = field_at(root, path) if name.lower().startswith(prefix.lower()) else None
        if field and get_origin(field.annotation) in (tuple, list, dict) and not is_json(value):
            shown = "(hidden)" if is_secret(field) else repr(value)
            lines.append(f"setting {'.'.join(path)} = {shown} ({name}): is no JSON; allowed: {allowed(field)}")
    return "; ".join(lines)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def field_at(root: type[BaseModel], path: tuple[str | int, ...]) -> FieldInfo | None:
    """The setting a problem's path leads to, whatever its position in a list; None where it ends at a section."""
    model, field = root, None
    for part in path:
        if isinstance(part, str) and model is not None:
            field = {info.alias or name: info for name, info in model.model_fields.items()}.get(part)
            inner = [t for t in (field.annotation, *get_args(field.annotation)) if is_model(t)] if field else []
            model = inner[0] if inner else None
    return None if model else field


def is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def allowed(field: FieldInfo) -> str:
    """The type and range of a setting, in words; its description where it has one."""
    if field.description:
        return field.description
    kind = in_words(field.annotation)
    bounds = {type(m).__name__: m for m in field.metadata}
    if "Ge" in bounds and "Le" in bounds:
        return f"{kind} from {bounds['Ge'].ge} to {bounds['Le'].le}"
    return kind if "MinLen" not in bounds else f"{kind} of {bounds['MinLen'].min_length} or more characters"


def in_words(annotation: object) -> str:
    """A type as people say it; a list as it is written, in TOML and as JSON in the environment."""
    choices = get_args(annotation)
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, choices))}"
    if get_origin(annotation) is tuple:
        words = in_words(choices[0]).replace("one of", "any of")
        example = json.dumps([next(iter(get_args(choices[0])), "text")])
        return f"a list of {words}, as JSON such as '{example}'"
    return TYPES.get(annotation, "text")
