"""Rows of the warm store, a DynamoDB table: one row is a user and a generation, its value the one Redis would hold.

    user   text, partition key   the pseudonym: all that is stored of a person is found by it
    tag    text, sort key        the generation's tag (schemas.keys): no row is ever overwritten by another generation
    value  binary                packed as ``schemas.user_codec`` says
    ends   number                when the table may drop the row, seconds since 1970: the attribute of its TTL

Pure: the wire form of DynamoDB's own JSON, for whoever writes and whoever reads.
"""

USER, TAG, VALUE, ENDS = "user", "tag", "value", "ends"
KEY_SCHEMA = [{"AttributeName": USER, "KeyType": "HASH"}, {"AttributeName": TAG, "KeyType": "RANGE"}]
NOBODY = "0" * 32  # asked for to see whether the table answers; no pseudonym in practice


def key_of(user: str, tag: str) -> dict:
    return {USER: {"S": user}, TAG: {"S": tag}}


def row_of(user: str, tag: str, value: bytes, ends_s: int) -> dict:
    return {**key_of(user, tag), VALUE: {"B": value}, ENDS: {"N": str(ends_s)}}


def read_row(row: dict) -> tuple[str, bytes]:
    """The user and the packed value of a row."""
    return row[USER]["S"], bytes(row[VALUE]["B"])
