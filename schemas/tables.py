"""Every table of the lake, defined once: Spark and Arrow types, expectations, docs and the API's JSON derive from it.

Type names: ``string int8 int32 int64 float32 float64 bool timestamp list<T>`` (UTC, microseconds).
"""

from dataclasses import dataclass

SCHEMA_VERSION = 5  # raised with any change below; every manifest carries it

KINDS = (
    "view",
    "click",
    "search",
    "add_to_cart",
    "purchase",
    "return",
    "rating",
    "like",
    "dislike",
    "impression",
)
NO_SIGN_OF_LIKING = ("return", "dislike", "impression", "search")
NEIGHBOR_KINDS = ("viewed_together", "bought_together")
# append only: packed values hold the position
SOURCES = (
    *("als", "viewed_together", "bought_together", "trending", "promotion"),
    *("ease", "cosine", "bm25", "walk", "baskets", "popular", "content", "segment"),
)
UNEXPLAINED = ("promotion", "popular", "segment")  # nothing the user did is why these are shown
SURFACES = ("for_you", "similar", "bought_together", "trending")
TIERS = ("personal", "neighbors", "segment_trending", "global_trending", "copy")
CONTROL_ARM = "control"


@dataclass(frozen=True)
class Column:
    """One column: its type, whether it may be null, its bounds (inclusive) or allowed values, and what it means."""

    name: str
    type: str
    doc: str
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table: what one row is, its columns in order, and the columns that identify a row."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """Raise KeyError when the table has no such column."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name!r}; it has {', '.join(self.names)}")


C = Column
EVENT_ID = C("event_id", "string", "identifies the event for ever; the same id sent again is a duplicate")
USER = C("user_id", "string", "pseudonym of the user, 32 hex digits")
ITEM = C("item_idx", "int32", "position in the item dictionary", low=0)
RANK = C("rank", "int32", "1 is best", low=1)

EVENTS = Table(
    "events",
    "something a user did or was shown",
    ("event_id",),
    (
        EVENT_ID,
        C("event_time", "timestamp", "when it happened"),
        C("kind", "string", "what happened", allowed=KINDS),
        C("user_id", "string", "pseudonym of the user, 32 hex digits; null while anonymous", nullable=True),
        C("key_version", "int8", "version of the key behind user_id", nullable=True, low=1, high=127),
        C("session_id", "string", "pseudonym of the visit", nullable=True),
        C("item_id", "string", "the item; null for a search", nullable=True),
        C("basket_id", "string", "pseudonym of the order or invoice", nullable=True),
        C("query", "string", "what was searched for", nullable=True),
        C("value", "float64", "a rating, on the source's own scale", nullable=True),
        C("quantity", "int32", "pieces", nullable=True, low=1),
        C("price", "float64", "price of one piece, in the source's currency", nullable=True),
        C("country", "string", "country or market", nullable=True),
        C("device", "string", "desktop, mobile, tablet or as the source says", nullable=True),
        C("extra", "string", "JSON of the fields sent that no column here is made of", nullable=True),
        C("source", "string", "name of the event source"),
        C("ingested_at", "timestamp", "when its batch was ingested"),
        C("batch_id", "string", "the batch that brought it"),
    ),
)

QUARANTINE = Table(
    "quarantine",
    "a row refused at ingest",
    ("batch_id", "file", "line"),
    (
        C("batch_id", "string", "the batch that refused it"),
        C("file", "string", "name of the landing file"),
        C("line", "int64", "1-based line or row in that file", low=1),
        C("reason", "string", "the rule that refused it"),
        C("row_hash", "string", "hash of the row as read, 32 hex digits"),
        C("row", "string", "the row as JSON, id columns pseudonymised; null when it could not be read", nullable=True),
        C("source", "string", "name of the event source"),
        C("ingested_at", "timestamp", "when its batch was ingested"),
    ),
)

ITEMS = Table(
    "items",
    "an item as known from valid_from on",
    ("item_id", "valid_from"),
    (
        C("item_id", "string", "the item as the source spells it"),
        C("valid_from", "timestamp", "from when on this row holds; undated rows hold from 1970-01-01"),
        C("title", "string", "name shown to people", nullable=True),
        C("category", "string", "main category", nullable=True),
        C("tags", "list<string>", "further categories, genres or attributes", nullable=True),
        C("text", "string", "description", nullable=True),
        C("price", "float64", "price of one piece", nullable=True, low=0),
        C("created_at", "timestamp", "when the item appeared", nullable=True),
        C("available", "bool", "may be recommended"),
    ),
)

USERS = Table(
    "users",
    "a user as known from valid_from on",
    ("user_id", "valid_from"),
    (
        USER,
        C("valid_from", "timestamp", "from when on this row holds; undated rows hold from 1970-01-01"),
        C("country", "string", "country or market", nullable=True),
        C("age_band", "string", "ten-year band, such as 20-29", nullable=True),
        C("gender", "string", "as the source says", nullable=True),
        C("occupation", "string", "as the source says", nullable=True),
    ),
)

ITEM_DICTIONARY = Table(
    "item_dictionary",
    "an item and its index, given once and never reused",
    ("item_id",),
    (C("item_id", "string", "the item as the source spells it"), ITEM),
)

EVENT_WEIGHTS = Table(
    "event_weights",
    "what one event of a kind says of a user's interest, by event source; read from the batches' source descriptions",
    ("source", "kind", "value"),
    (
        C("source", "string", "name of the event source"),
        C("kind", "string", "what happened", allowed=KINDS),
        C("value", "float64", "for this rating only; null: for any value", nullable=True),
        C("weight_micro", "int64", "weight in millionths; below 0 takes interest away"),
    ),
)

INTERACTIONS = Table(
    "interactions",
    "a user and an item they dealt with",
    ("user_id", "item_idx"),
    (
        USER,
        ITEM,
        C("weight_micro", "int64", "decayed weight in millionths; 0: known to the user, no sign of liking", low=0),
        C("total_micro", "int64", "weight at the beginning of its period, exact: what the next night adds to"),
        C("n_events", "int32", "events counted", low=1),
        C("n_purchases", "int32", "purchases counted", low=0),
        C("first_time", "timestamp", "first event"),
        C("last_time", "timestamp", "last event"),
        C("last_purchase_time", "timestamp", "last purchase; null: never bought", nullable=True),
    ),
)

ITEM_NEIGHBORS = Table(
    "item_neighbors",
    "an item and one neighbor of one kind",
    ("item_idx", "kind", "rank"),
    (
        ITEM,
        C("kind", "string", "what brought the two together", allowed=NEIGHBOR_KINDS),
        RANK,
        C("neighbor_idx", "int32", "position of the neighbor in the item dictionary", low=0),
        C("n_pair", "int64", "contributors (sessions or users) that have both", low=1),
        C("lift", "float64", "n_pair · n / (n_item · n_neighbor)", low=0),
        C("llr", "float64", "log-likelihood ratio of the pair (Dunning 1993)", low=0),
        C("score", "float64", "what the rank goes by", low=0),
    ),
)

FITTED = C("source", "string", "name of the fitted source: one of the recipe's, or of affinities")

RECIPE = Table(
    "recipe",
    "how the night ranks: what rolling cuts inside the known events chose",
    ("name",),
    (
        C("name", "string", "always recipe"),
        C("description", "string", "the choice in words"),
        C("settings", "string", "JSON: of each source how it is fitted and with which options"),
        C("form", "string", "what ranks the candidates", allowed=("fused", "single", "blend", "model")),
        C("single", "string", "the best single column of a candidate's features, for single and blend"),
        C("rankers", "list<string>", "LightGBM models, as text; none where form is fused or single"),
    ),
)

USER_FACTORS = Table(
    "user_factors",
    "a user's vector in one fitted source",
    ("user_id", "source"),
    (USER, FITTED, C("vector", "list<float32>", "factors")),
)
ITEM_FACTORS = Table(
    "item_factors",
    "an item's vector in one fitted source",
    ("item_idx", "source"),
    (ITEM, FITTED, C("vector", "list<float32>", "factors")),
)
ITEM_WEIGHTS = Table(
    "item_weights",
    "what having an item says of others, in one fitted source",
    ("item_idx", "source"),
    (
        ITEM,
        FITTED,
        C("others", "list<int32>", "item_idx"),
        C("weights", "list<float32>", "parallel to others, of either sign"),
    ),
)
ITEM_FEATURES = Table(
    "item_features",
    "an item somebody took, as the ranker sees it",
    ("item_idx",),
    (
        ITEM,
        C("vector", "list<float32>", "jobs.kernels.recipe.describe.ITEM_NAMES, in that order"),
        C("known_until", "timestamp", "the newest event known when it was described"),
    ),
)
PROBES = Table(
    "probes",
    "a user whose last active day the fit did not see, so that the gate can ask for it",
    ("user_id",),
    (
        USER,
        C("items", "list<int32>", "item_idx known to the fit"),
        C("last_us", "list<int64>", "when each was last taken, microseconds since 1970"),
        C("withheld", "list<int32>", "item_idx taken on the withheld day and not before"),
    ),
)

CONTENT_NEIGHBORS = Table(
    "content_neighbors",
    "an item hardly anybody knows yet, and the known ones it is described like",
    ("item_idx",),
    (
        ITEM,
        C("others", "list<int32>", "item_idx, the most alike first"),
        C("weights", "list<float32>", "cosine of what is written about the two, above 0"),
    ),
)

SEGMENT_LISTS = Table(
    "segment_lists",
    "what people like a newcomer take, for one combination of what is known of them",
    ("country", "age_band", "gender", "occupation"),
    (
        C("country", "string", "null: unknown", nullable=True),
        C("age_band", "string", "null: unknown", nullable=True),
        C("gender", "string", "null: unknown", nullable=True),
        C("occupation", "string", "null: unknown", nullable=True),
        C("items", "list<int32>", "item_idx in rank order"),
        C("scores", "list<float32>", "falling with rank"),
    ),
)

METRICS = Table(
    "metrics",
    "a measure of a method on rolling cuts",
    ("cut", "method", "against", "measure", "segment"),
    (
        C("cut", "string", "the UTC day tested, such as 2011-11-03, or pooled"),
        C("method", "string", "what made the lists: recipe, live, popularity_30; source:als …: one of recipe's alone"),
        C("against", "string", "null: the measure itself; else: minus that method's, paired", nullable=True),
        C("measure", "string", "such as ndcg@10"),
        C("segment", "string", "all, or users or items of one kind"),
        C("value", "float64", "the mean"),
        C("low", "float64", "lower bound of the 95 % interval", nullable=True),
        C("high", "float64", "upper bound of the 95 % interval", nullable=True),
        C("n_users", "int64", "users it is the mean of", low=0),
    ),
)

SLATE_ARRAYS = (
    C("items", "list<int32>", "item_idx in rank order, no repeats"),
    C("scores", "list<float32>", "falling with rank"),
    C("because_of", "list<int32>", "the user's own item_idx that contributed most; -1: none did"),
)

CANDIDATES = Table(
    "candidates",
    "a user's best candidates by the recipe, of which one source speaks most for",
    ("user_id", "source"),
    (USER, C("source", "string", "what proposed", allowed=SOURCES), *SLATE_ARRAYS),
)

SLATES = Table(
    "slates",
    "the ordered list prepared for one user",
    ("user_id",),
    (
        USER,
        *SLATE_ARRAYS[:2],
        C("sources", "list<string>", "what proposed each item most strongly, or promotion"),
        C(
            "because_of",
            "list<int32>",
            "the user's own item_idx that contributed most; -1: none did, it is promoted or popular",
        ),
        C("propensities", "list<float32>", "chance of the item drawn for an explored place, (0, 1]; 1: not drawn"),
        C("seen", "list<int32>", "item_idx the user already has and may not get again, newest first; never served"),
    ),
)

TRENDING = Table(
    "trending",
    "a segment and an item that rises in it",
    ("segment", "rank"),
    (
        C("segment", "string", "all, or an attribute and its value, such as country=France"),
        RANK,
        ITEM,
        C("score", "float64", "decayed count of distinct people", low=0),
        C("n_users", "int64", "distinct people and sessions", low=1),
    ),
)

TABLES = {
    table.name: table
    for table in (
        EVENTS,
        QUARANTINE,
        ITEMS,
        USERS,
        ITEM_DICTIONARY,
        EVENT_WEIGHTS,
        INTERACTIONS,
        ITEM_NEIGHBORS,
        RECIPE,
        USER_FACTORS,
        ITEM_FACTORS,
        ITEM_WEIGHTS,
        ITEM_FEATURES,
        PROBES,
        CONTENT_NEIGHBORS,
        SEGMENT_LISTS,
        METRICS,
        CANDIDATES,
        SLATES,
        TRENDING,
    )
}
