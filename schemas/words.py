"""What machines' names mean to people: rungs, sources, ages; the pages and ``nightshelf explain`` say the same."""

RUNGS = {
    "personal": "their own slate",
    "neighbors": "neighbors of the item",
    "segment_trending": "what rises in their segment",
    "global_trending": "what rises for everybody",
    "copy": "the copy the service holds in memory",
}
SOURCES = {
    "als": "taste",
    "viewed_together": "viewed together",
    "bought_together": "bought together",
    "trending": "rising now",
    "promotion": "promoted",
    "ease": "goes with it",
    "cosine": "goes with it",
    "bm25": "goes with it",
    "walk": "others went on to it",
    "baskets": "taken together",
    "popular": "popular now",
    "content": "alike",
    "segment": "liked by people like you",
    "catalogue": "catalogue",
}
DEGRADED = "Redis is away or a value is damaged, so copies answered and seen items are unchecked"


def age(seconds: int) -> str:
    """Such as 45 s, 12 min, 5 h, 3 days."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
