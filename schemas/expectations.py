"""Great Expectations suites of the tables. Needs great_expectations: serving does not import this module."""

import great_expectations.expectations as gxe

from schemas.tables import Column, Table


def row_expectations(table: Table) -> list[gxe.Expectation]:
    """What holds for every single row: presence, bounds and allowed values of each column."""
    return [expectation for column in table.columns for expectation in column_expectations(column)]


def column_expectations(column: Column) -> list[gxe.Expectation]:
    found: list[gxe.Expectation] = []
    if not column.nullable:
        found.append(gxe.ExpectColumnValuesToNotBeNull(column=column.name))
    if column.low is not None or column.high is not None:
        found.append(gxe.ExpectColumnValuesToBeBetween(column=column.name, min_value=column.low, max_value=column.high))
    if column.allowed:
        found.append(gxe.ExpectColumnValuesToBeInSet(column=column.name, value_set=list(column.allowed)))
    return found


def statistic_expectations(bounds: dict[str, tuple[float | None, float | None]]) -> list[gxe.Expectation]:
    """What holds for a table as a whole: each statistic, a column of a one-row frame, lies within its bounds."""
    return [
        gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high)
        for name, (low, high) in bounds.items()
    ]
