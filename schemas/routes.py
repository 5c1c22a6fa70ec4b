"""The API's routes and parameters, once: requests are checked against them, the OpenAPI document derives from them."""

from dataclasses import dataclass
from typing import Literal

from schemas import api

MAX_TEXT = 1_024  # characters of an id, a segment, a name
MAX_LIST = 500  # ids or names in one list
MAX_SUBJECTS = 100  # look-ups in one batch
MAX_BATCH_ITEMS = 2_000  # subjects times n: about what one request's time allows
MAX_PRICE = 10**12
MAX_BODY = 1 << 20
MAX_QUERY = 65_536  # characters

PUBLIC, PERSONAL, NO_STORE = "public, max-age=60", "private, no-store", "no-store"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter, and the field of the same name in a batch; ``kind`` says what values are allowed."""

    name: str
    kind: Literal["count", "text", "texts", "price", "time", "flag"]
    what: str


@dataclass(frozen=True, slots=True)
class Route:
    """``{name}`` in the path is any text, slashes too; ``answer`` is the class of a 200, None where it is no JSON."""

    name: str
    method: Literal["get", "post"]
    path: str
    summary: str
    answer: type | None
    cache: str
    parameters: tuple[str, ...] = ()
    lenient: bool = False  # overlooks unknown parameters
    needs_release: bool = True  # 503 while nothing was published
    body: type | None = None


PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("n", "count", "How many items; fewer come only when fewer are eligible."),
        Parameter("segment", "text", "Trending segment, such as country=France; an unknown one gets the next rung."),
        Parameter("exclude", "texts", "Item ids that must not come; separated by commas, or repeated, or both."),
        Parameter("category", "texts", "Only items of these categories; separated by commas, or repeated, or both."),
        Parameter("price_min", "price", "Only items with a known price of at least this."),
        Parameter("price_max", "price", "Only items with a known price of at most this."),
        Parameter("country", "text", "Context: where the visitor is. Lower rungs ask the segment country=… first."),
        Parameter("device", "text", "Context: what the visitor uses. Lower rungs ask the segment device=… too."),
        Parameter("time", "time", "Context: the visitor's moment, ISO 8601. Lower rungs ask daypart=night, morning, "
                  "afternoon or evening (by UTC, six hours each from midnight on) where the release has it."),
        Parameter("explain", "flag", "Also tell which rungs were asked, what each gave, and what was dropped and why."),
    )
}  # fmt: skip
FILTERS = ("exclude", "category", "price_min", "price_max")
CONTEXT = ("country", "device", "time")
FOR_YOU = ("n", "segment", *FILTERS, *CONTEXT, "explain")
OF_ITEM = ("n", *FILTERS, *CONTEXT, "explain")

ROUTES = (
    Route(
        "recommendations",
        "get",
        "/v1/users/{user_id}/recommendations",
        "What a person may like: their slate, then what rises in their segments, then everywhere",
        api.PersonalAnswer,
        PERSONAL,
        FOR_YOU,
    ),
    Route(
        "similar",
        "get",
        "/v1/items/{item_id}/similar",
        "Items like this one, then what rises in its category",
        api.PublicAnswer,
        PUBLIC,
        OF_ITEM,
    ),
    Route(
        "bought_together",
        "get",
        "/v1/items/{item_id}/bought-together",
        "Items bought with this one, then what rises in its category",
        api.PublicAnswer,
        PUBLIC,
        OF_ITEM,
    ),
    Route(
        "trending",
        "get",
        "/v1/trending",
        "What rises in a segment, then everywhere",
        api.PublicAnswer,
        PUBLIC,
        FOR_YOU,
    ),
    Route(
        "batch",
        "post",
        "/v1/batch",
        "Up to 100 look-ups at once, answered in their order",
        api.BatchAnswer,
        PERSONAL,
        body=api.BatchRequest,
    ),
    Route("release", "get", "/v1/release", "What is live, and what is kept", api.ReleaseInfo, NO_STORE),
    Route(
        "livez",
        "get",
        "/livez",
        "Whether this process answers",
        api.Alive,
        NO_STORE,
        lenient=True,
        needs_release=False,
    ),
    Route("readyz", "get", "/readyz", "Whether some rung can answer", api.Ready, NO_STORE, lenient=True),
)
BATCH_SURFACES = ("similar", "bought_together")
