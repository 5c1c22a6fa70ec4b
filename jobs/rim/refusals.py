"""Why a generation may not replace what is live. Pure."""

from jobs.rim.shelf import Generation
from schemas.release import Release, surface_key


def refusal(generation: Generation, known: Release, told: bool) -> str:
    """In words; empty where it may. ``told``: somebody asked to go backwards, or for this very generation."""
    now = known.live(generation.surface)
    if now.base in known.pinned:
        return f"{now.base} is pinned; `nightshelf unpin {now.base}` lets others go live"
    if told:
        return ""
    if generation.as_of < now.as_of:
        return (
            f"live is as of {now.as_of}, this is as of {generation.as_of}; "
            "nothing goes backwards unless told to (--allow-older)"
        )
    left = {old.base: old for old in known.previous.get(surface_key(generation.surface), ())}
    if generation.name in left and left[generation.name].age_key > now.age_key:
        return f"{generation.name} was rolled back from; `--generation {generation.name}` makes it live again"
    return ""
