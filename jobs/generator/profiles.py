"""The items and users of the shop as tables: what the shop itself would know and hand over."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.generator.catalogue import Catalogue, parts
from jobs.generator.hidden import texts
from jobs.generator.people import People
from jobs.generator.plan import Plan
from jobs.generator.words import CATEGORIES, COUNTRIES, GENDERS, OCCUPATIONS, STYLES

MOMENT = pa.timestamp("us", tz="UTC")


def items(plan: Plan, catalogue: Catalogue) -> pa.Table:
    """One row an item from its creation, another when it sells out and a third when it is back, in order of time."""
    everything = np.arange(catalogue.n)
    out = np.flatnonzero(catalogue.out_from < plan.end_ms)
    back = np.flatnonzero(catalogue.out_until < plan.end_ms)
    which = np.concatenate([everything, out, back])
    since = np.concatenate([catalogue.created, catalogue.out_from[out], catalogue.out_until[back]])
    available = np.ones(len(which), bool)
    available[catalogue.n : catalogue.n + len(out)] = False
    order = np.lexsort((which, since))
    which = which[order]
    names = [catalogue.group_names[group] for group in catalogue.group]
    columns = {
        "item_id": texts(catalogue.ids[which]),
        "valid_from": pa.array(since[order] * 1000, MOMENT),
        "title": pa.array(catalogue.titles).take(which),
        "category": pa.array([category for category, _ in names]).take(which),
        "tags": pa.array(_tags(catalogue)).take(which),
        "text": pa.array(_texts(catalogue)).take(which),
        "price": np.round(catalogue.price, 2)[which],
        "created_at": pa.array(catalogue.created[which] * 1000, MOMENT),
        "available": available[order],
    }
    return pa.table(columns)


def users(people: People) -> pa.Table:
    """One row a person, from the day they joined."""
    columns = {
        "user_id": texts(people.ids),
        "valid_from": pa.array(people.joined * 1000, MOMENT),
        "country": pa.array(list(COUNTRIES)).take(people.country),
        "age": people.age.astype(np.int32),
        "gender": pa.array(list(GENDERS)).take(people.gender),
        "occupation": pa.array(OCCUPATIONS).take(people.occupation),
    }
    return pa.table(columns)


def printable(table: pa.Table) -> pa.Table:
    """The same with moments as ISO 8601 UTC text, for JSON."""
    for at, field in enumerate(table.schema):
        if field.type == MOMENT:
            moments = pc.strftime(table[at].cast(pa.timestamp("s", tz="UTC")), "%Y-%m-%dT%H:%M:%SZ")
            table = table.set_column(at, field.name, moments)
    return table


def _tags(catalogue: Catalogue) -> list[list[str]]:
    return [
        [style, material.lower(), noun.lower()]
        for style, (_, material, noun) in zip(_styles(catalogue), _parts(catalogue), strict=True)
    ]


def _texts(catalogue: Catalogue) -> list[str]:
    return [
        f"{STYLES[style][1]}: {_with_article(material.lower())} {noun.lower()} for {CATEGORIES[category][3]}."
        for (category, style), (_, material, noun) in zip(_group_names(catalogue), _parts(catalogue), strict=True)
    ]


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _group_names(catalogue: Catalogue) -> list[tuple[str, str]]:
    return [catalogue.group_names[group] for group in catalogue.group]


def _styles(catalogue: Catalogue) -> list[str]:
    return [style for _, style in _group_names(catalogue)]


def _parts(catalogue: Catalogue) -> list[tuple[str, str, str]]:
    return [parts(*names, k) for names, k in zip(_group_names(catalogue), catalogue.ordinal, strict=True)]
