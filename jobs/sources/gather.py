"""First pass of an ingest: read, map, refuse, identify, pseudonymise, and lay the events down by day."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.sources.accounts import Accounts
from jobs.sources.catalogue import map_items, map_users, newest, used_columns
from jobs.sources.chunk import Chunk
from jobs.sources.columns import require_columns
from jobs.sources.description import Description, Events, Items, Users
from jobs.sources.files import Input
from jobs.sources.identify import Seen, digests, hex_ids, numbered, pseudonyms
from jobs.sources.late import Late, reasons_at
from jobs.sources.mapping import map_events
from jobs.sources.quarantine import refused_rows, unreadable_rows
from jobs.sources.readers import read_chunks
from jobs.sources.sessions import session_users
from jobs.sources.spool import Spool
from jobs.sources.told import ToldByEvents
from schemas.arrow import arrow_schema
from schemas.tables import ITEMS, USERS

NO_PAIRS = pa.table({"session_id": pa.array([], pa.string()), "user_id": pa.array([], pa.string())})


class Gather:
    """What the files of one batch hold: events in ``spool``, refused rows, items, users and the accounts so far."""

    def __init__(
        self,
        source: Description,
        secret: bytes,
        ingested_at: datetime,
        chunk_rows: int,
        folder: Path,
        earliest: datetime | None = None,
    ):
        self.source, self.secret, self.ingested_at, self.chunk_rows = source, secret, ingested_at, chunk_rows
        self.accounts, self.spool = Accounts(), Spool(folder)
        self.refused: list[pa.Table] = []
        self.late = Late(earliest)
        self.pairs = NO_PAIRS
        self.items, self.users = arrow_schema(ITEMS).empty_table(), arrow_schema(USERS).empty_table()
        self.first: datetime | None = None  # of all sound rows, repeats included
        self.last: datetime | None = None
        self._event_ids = Seen()
        self._told = ToldByEvents(source.items_from_events) if source.items_from_events else None

    def read_events(self, file: Input, spec: Events) -> int:
        """Take all rows of a file of events; how many there were."""
        rows_of_file, n_rows = Seen(), 0
        required = self.columns_of(spec) if len(self.source.events) == 1 else spec.used
        for chunk in read_chunks(file, spec, self.columns_of(spec), self.chunk_rows):
            require_columns(chunk, required, spec)
            self.take(chunk, spec, rows_of_file)
            n_rows += chunk.n_read
        return n_rows

    def columns_of(self, spec: Events) -> list[str]:
        """Their columns that are read."""
        return list(dict.fromkeys([*spec.used, *self.source.told_columns]))

    def take(self, chunk: Chunk, spec: Events, rows_of_file: Seen) -> None:
        """Account for every row of a chunk of events."""
        self.accounts.read += chunk.n_read
        self.accounts.unknown_fields.update(chunk.unknown)
        mapped = map_events(chunk, spec, self.source, self.ingested_at)
        self.refuse(chunk, mapped["reason"].combine_chunks(), spec, self.accounts.quarantined)
        kept = np.flatnonzero(np.asarray(mapped["reason"].is_null()))
        if not len(kept):
            return
        ids, id_digests = self.identify(chunk, mapped, kept, rows_of_file)
        new = self._event_ids.earlier(id_digests) == 0
        self.accounts.duplicate += int(np.count_nonzero(~new))
        sound = mapped.filter(mapped["reason"].is_null())
        self.widen(sound["event_time"])
        late = new & self.late.among(sound["event_time"])
        self.hold(chunk, spec, kept[late], ids.filter(pa.array(late)), sound["event_time"].filter(pa.array(late)))
        new &= ~late
        events = sound.set_column(sound.schema.get_field_index("event_id"), "event_id", ids).drop_columns("reason")
        if self._told:
            self._told.add(chunk, spec, mapped["item_id"].combine_chunks(), kept[new])
        events = self.pseudonymise(events.filter(pa.array(new)))
        self.pairs = pa.concat_tables([self.pairs, session_users(events)])
        self.spool.add(events)

    def identify(
        self, chunk: Chunk, mapped: pa.Table, kept: np.ndarray, rows_of_file: Seen
    ) -> tuple[pa.Array, np.ndarray]:
        """The event ids of the kept rows, and a digest of each."""
        given = mapped["event_id"].combine_chunks().take(pa.array(kept))
        lacking = np.asarray(given.is_null())
        values = np.empty((len(kept), 2), np.uint64)
        if chunk.marks is None:
            rows = chunk.rows_as_read(kept[lacking])
            values[lacking] = numbered(digests(rows, self.source.name), rows_of_file)
        else:
            values[lacking] = digests(chunk.rows_as_placed(kept[lacking]), self.source.name)
        values[~lacking] = digests(given.drop_null().cast(pa.binary()).to_pylist())
        return pc.replace_with_mask(given, pa.array(lacking), hex_ids(values[lacking])), values

    def hold(self, chunk: Chunk, spec: Events, places: np.ndarray, ids: pa.Array, times: pa.ChunkedArray) -> None:
        """Set aside the rows at some places of a chunk, which came too late."""
        if len(places):
            reasons = reasons_at(places, len(chunk.lines))
            self.late.hold(refused_rows(chunk, reasons, spec.used, spec.ids, self.secret, spec), ids, times)

    def refuse(self, chunk: Chunk, reasons: pa.Array, spec: Events, counts) -> None:
        """Keep the rows that cannot be used, and count them."""
        parts = [unreadable_rows(chunk), refused_rows(chunk, reasons, spec.used, spec.ids, self.secret, spec)]
        for part in parts:
            counts.update(part["reason"].to_pylist())
        self.refused += [part for part in parts if part.num_rows]

    def widen(self, times: pa.ChunkedArray) -> None:
        """Note the range of the sound rows."""
        low, high = (value.as_py() for value in pc.min_max(times).values())
        self.first, self.last = min(self.first or low, low), max(self.last or high, high)

    def pseudonymise(self, events: pa.Table) -> pa.Table:
        for domain in ("user", "session", "basket"):
            at = events.schema.get_field_index(f"{domain}_id")
            raw = events[f"{domain}_id"].combine_chunks()
            events = events.set_column(at, f"{domain}_id", pseudonyms(raw, self.secret, domain))
        return events

    def read_catalogue(self, file: Input, layout: Items | Users) -> int:
        """Take all rows of a file of items or users; how many there were."""
        name = "items" if isinstance(layout, Items) else "users"
        account = self.accounts.catalogue.setdefault(name, {"read": 0, "accepted": 0, "quarantined": {}})
        used, n_rows = used_columns(layout), 0
        for chunk in read_chunks(file, layout, used, self.chunk_rows):
            require_columns(chunk, used, layout)
            rows, reasons = map_items(chunk, layout) if name == "items" else map_users(chunk, layout, self.secret)
            ids = {} if name == "items" else {layout.columns.user_id.column: ("user", layout.columns.user_id)}
            parts = [unreadable_rows(chunk), refused_rows(chunk, reasons, used, ids, self.secret, layout)]
            for reason in (reason for part in parts for reason in part["reason"].to_pylist()):
                account["quarantined"][reason] = account["quarantined"].get(reason, 0) + 1
            self.refused += [part for part in parts if part.num_rows]
            sound = rows.filter(reasons.is_null())
            setattr(self, name, pa.concat_tables([getattr(self, name).cast(sound.schema), sound]))
            account["accepted"] += sound.num_rows
            n_rows += chunk.n_read
        account["read"] += n_rows
        return n_rows

    def finish(self) -> None:
        """One row for each item and user and date."""
        if self._told:
            self.items = self._told.rows()
            n = self.items.num_rows
            self.accounts.catalogue["items"] = {"read": n, "accepted": n, "quarantined": {}}
        self.items, self.users = newest(self.items, "item_id"), newest(self.users, "user_id")
