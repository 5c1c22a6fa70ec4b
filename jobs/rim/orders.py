"""Orders of an operator on the release: roll back, pin, unpin. Pure: a release in, the next one out.

None of them loads anything, so none waits for a publisher at work.
"""

from collections.abc import Mapping
from dataclasses import replace

from jobs.rim.errors import UsageError
from schemas.release import Published, Release


def rolled_back(live: Release, targets: Mapping[str, str], now: str, pin: bool = False) -> Release:
    """The release with each ``<surface>/<arm>`` of ``targets`` at a generation it keeps; nothing kept is dropped.

    Raises:
        UsageError: one is not live, is pinned, or its target is not kept.
    """
    changes = {name: destination(live, name, target) for name, target in targets.items()}
    n_kept = max(len(live.previous.get(name, ())) + 1 for name in targets)
    after = live.switched(changes, live.catalogue, live.key_version, now, n_kept)
    return replace(after, pinned=tuple(sorted({*after.pinned, *targets.values()}))) if pin else after


def destination(live: Release, name: str, target: str | None) -> Published:
    """Where one surface goes: to a kept generation, or (no target) to the one before the live one.

    Raises:
        UsageError: as ``rolled_back``, or there is none before.
    """
    now = live.surfaces.get(name)
    if now is None:
        raise UsageError(f"{name} is not live; live are {', '.join(sorted(live.surfaces))}")
    if now.base in live.pinned:
        raise UsageError(f"{name}: {now.base} is pinned: `nightshelf unpin {now.base}` first")
    if target is None:
        found = live.older(name)
        if found is None:
            raise UsageError(
                f"{name}: Redis keeps nothing older than {now.base}; `nightshelf generations` lists what the lake "
                "holds, `nightshelf publish --generation ID` loads it and makes it live"
            )
        return found
    found = next((old for old in live.previous.get(name, ()) if old.base == target), None)
    if now.base == target:
        raise UsageError(f"{target} is live already")
    if found is None:
        raise UsageError(
            f"{target} is not kept in Redis: `nightshelf publish --generation {target}` loads it and makes it live"
        )
    return found


def pinned(live: Release, generation: str, now: str) -> Release:
    """The release with one more generation that stays.

    Raises:
        UsageError: it is neither live nor kept, or pinned already.
    """
    if generation not in live.kept():
        raise UsageError(f"{generation} is neither live nor kept; these are: {', '.join(sorted(live.kept()))}")
    if generation in live.pinned:
        raise UsageError(f"{generation} is pinned already")
    return replace(live, epoch=live.epoch + 1, released_at=now, pinned=tuple(sorted((*live.pinned, generation))))


def unpinned(live: Release, generation: str, now: str) -> Release:
    """The release with one pin less; what it kept beyond ``keep`` goes with the next publish.

    Raises:
        UsageError: it is not pinned.
    """
    if generation not in live.pinned:
        raise UsageError(f"{generation} is not pinned; pinned are: {', '.join(live.pinned) or 'none'}")
    left = tuple(name for name in live.pinned if name != generation)
    return replace(live, epoch=live.epoch + 1, released_at=now, pinned=left)
