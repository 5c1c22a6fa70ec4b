"""The OpenAPI 3.1 document, derived from ``schemas.routes`` and ``schemas.api``. Standard library only."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from schemas import __version__, api
from schemas.routes import (
    FOR_YOU,
    MAX_BODY,
    MAX_LIST,
    MAX_PRICE,
    MAX_SUBJECTS,
    MAX_TEXT,
    PARAMETERS,
    PUBLIC,
    ROUTES,
    Parameter,
    Route,
)

SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean"}
TEXT = {"type": "string", "maxLength": MAX_TEXT}  # an empty one asks for nothing
ID = TEXT | {"minLength": 1}
REFUSALS = {
    400: "The request is wrong; `detail` says what is allowed",
    405: "Another method is allowed; `Allow` says which",
    413: f"The body has more than {MAX_BODY:,} bytes",
    415: "The body is not application/json",
    503: "Nothing was published yet, or the service is overloaded; `detail` says which",
}


def document(default_n: int, max_n: int) -> dict[str, Any]:
    """The whole document; ``default_n`` and ``max_n`` are those of the settings."""
    schemas: dict[str, dict] = {}
    paths: dict[str, dict] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = operation(route, schemas, default_n, max_n)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nightshelf",
            "version": __version__,
            "description": "Recommendations computed by night. Every answer says where it comes from; unknown users "
            "and items get the next rung, never an error and never a silently empty list.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def operation(route: Route, schemas: dict, default_n: int, max_n: int) -> dict:
    in_path = [path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)]
    in_query = [query_parameter(PARAMETERS[name], default_n, max_n) for name in route.parameters]
    found: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": in_path + in_query,
        "responses": responses(route, schemas),
        "security": [],
    }
    if route.cache == PUBLIC:
        found["parameters"] = [*found["parameters"], IF_NONE_MATCH]
    if route.body is not None:
        body = batch_schema(route.body, schemas, default_n, max_n)
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETag of the answer the client has: 304 where it is still the same.",
    "schema": {"type": "string"},
}


def responses(route: Route, schemas: dict) -> dict[str, dict]:
    content = {"application/json": {"schema": schema_of(route.answer, schemas)}}
    headers = {"Cache-Control": {"schema": {"type": "string"}}}
    if route.cache == PUBLIC:
        headers["ETag"] = {"schema": {"type": "string"}}
    found = {"200": {"description": route.summary, "headers": headers, "content": content}}
    if route.cache == PUBLIC:
        found["304"] = {"description": "The client has this answer already", "headers": headers}
    wrong = ([] if route.lenient else [400]) + ([413, 415] if route.body else []) + [503] * route.needs_release
    problem = {api.PROBLEM_TYPE: {"schema": schema_of(api.Problem, schemas)}}
    return found | {str(status): {"description": REFUSALS[status], "content": problem} for status in wrong}


def path_parameter(name: str) -> dict:
    what = "As the source spells it; any text, percent-encoded. An unknown one gets the next rung."
    return {"name": name, "in": "path", "required": True, "description": what, "schema": ID}


def query_parameter(parameter: Parameter, default_n: int, max_n: int) -> dict:
    found = {"name": parameter.name, "in": "query", "required": False, "description": parameter.what}
    found["schema"] = value_schema(parameter, default_n, max_n)
    if parameter.kind == "texts":
        # a value may list many by commas, so its own length says nothing
        found |= {"style": "form", "explode": True}
        found["schema"] |= {"items": {"type": "string"}}
    return found


def value_schema(parameter: Parameter, default_n: int, max_n: int) -> dict:
    """The JSON schema of a parameter's value."""
    return {
        "count": {"type": "integer", "minimum": 1, "maximum": max_n, "default": min(default_n, max_n)},
        "text": TEXT,
        "texts": {"type": "array", "items": TEXT, "maxItems": MAX_LIST},
        "price": {"type": "number", "minimum": 0, "maximum": MAX_PRICE},
        "time": {"type": "string", "format": "date-time"},
        "flag": {"type": "boolean", "default": False},
    }[parameter.kind]


def batch_schema(body: type, schemas: dict, default_n: int, max_n: int) -> dict:
    """The body's class and, beside its fields, the options of a single look-up."""
    schema_of(body, schemas)
    schema = schemas[body.__name__]
    schema["properties"]["subjects"] |= {"minItems": 1, "maxItems": MAX_SUBJECTS}
    for name in FOR_YOU:
        described = {"description": PARAMETERS[name].what}
        schema["properties"][name] = value_schema(PARAMETERS[name], default_n, max_n) | described
    for kind in (api.UserSubject, api.ItemSubject):
        for name in ("user_id", "item_id"):
            if name in schemas[kind.__name__]["properties"]:
                schemas[kind.__name__]["properties"][name] = ID
    return reference(body)


def reference(kind: type) -> dict:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def schema_of(kind: Any, schemas: dict) -> dict:
    """The JSON schema of a type; dataclasses are added to ``schemas`` and referred to."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        texts = [note for note in arguments[1:] if isinstance(note, str)]
        return schema_of(arguments[0], schemas) | ({"description": texts[0]} if texts else {})
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin in (Union, UnionType):
        return union_of(arguments, schemas)
    if origin in (list, tuple):
        return {"type": "array", "items": schema_of(arguments[0], schemas)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1], schemas)}
    if is_dataclass(kind):
        if kind.__name__ not in schemas:
            schemas[kind.__name__] = {}  # there before its fields, for classes that refer to each other
            schemas[kind.__name__] |= object_schema(kind, schemas)
        return reference(kind)
    return {"type": SIMPLE[kind]}


def union_of(kinds: tuple, schemas: dict) -> dict:
    found = [schema_of(kind, schemas) for kind in kinds if kind is not NoneType]
    if NoneType not in kinds:
        return {"anyOf": found}
    if len(found) == 1 and isinstance(found[0].get("type"), str):
        return found[0] | {"type": [found[0]["type"], "null"]}
    return {"anyOf": [*found, {"type": "null"}]}


def object_schema(kind: type, schemas: dict) -> dict:
    hints = get_type_hints(kind, include_extras=True)
    absent = {name for name, hint in hints.items() if api.Absent in get_args(hint)}
    names = [field.name for field in fields(kind)]
    return {
        "type": "object",
        "description": kind.__doc__.strip().splitlines()[0],
        "properties": {name: schema_of(hints[name], schemas) for name in names},
        "required": [name for name in names if name not in absent],
        "additionalProperties": False,
    }
