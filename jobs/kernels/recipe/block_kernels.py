"""Compiled loops of ``block_topk`` and ``quick_block``.

They call only each other: the compiler's cache does not notice when a function of another file changed.

An *entry* is a score and an item code in one int64: falling entries are falling scores and, of equals, rising codes.
A user's scores by a history lie in ``sums`` ``(n_items,)``, float32; those of items that nothing was added to are
minus 0, which no sum of numbers other than minus 0 can be.
"""

import numpy as np

from jobs.kernels.compiled import kernel

EMPTY = np.iinfo(np.int64).min  # below every entry
LAST_CODE = 0x7FFFFFFF
EIGHT = 8  # scores looked at together
BIN_BITS = 20  # of a positive float32, those that do not tell its bin: eight bins for each power of 2
N_BINS = 1 << (31 - BIN_BITS)
SAMPLED = 4  # of so many touched items one tells how high the best are
UNTOUCHED = np.float32(-0.0)
UNTOUCHED_BITS = UNTOUCHED.view(np.int32)
LEAST_BEST = np.float32(1e-9)  # what scores are divided by where the best is lower
NOWHERE = -1
CANDIDATE, BARRED = 1, 2  # marks of items


@kernel
def entry(score, code):
    """As ``entries_of``."""
    bits = np.int64(np.float32(score + np.float32(0)).view(np.int32))
    return ((bits ^ ((bits >> 31) & LAST_CODE)) << 32) | (LAST_CODE - code)


@kernel
def score_of(one):
    """Of an entry."""
    bits = np.int32(one >> 32)
    return np.int32(bits ^ ((bits >> 31) & LAST_CODE)).view(np.float32)


@kernel
def sift(scores, live, codes, kept, count, least):
    """Add to ``kept`` what of a tile beats a user's ``least``; a full row is cut to its best half."""
    beats = np.zeros(-(-len(codes) // EIGHT) * EIGHT, np.uint8)
    eights = beats.view(np.uint64)
    for row in range(len(live)):
        user, line = live[row], scores[row]
        worst = score_of(least[user])
        for at in range(len(line)):
            beats[at] = line[at] >= worst
        for eight in range(len(eights)):
            if eights[eight] == 0:
                continue
            for at in range(EIGHT * eight, min(EIGHT * (eight + 1), len(line))):
                if beats[at]:
                    add(entry(line[at], codes[at]), user, kept, count, least)


@kernel
def add(one, user, kept, count, least):
    """Keep an entry above the least; once a row is full its better half stays, and has a new least."""
    if one > least[user]:
        kept[user, count[user]] = one
        count[user] += 1
        if count[user] == kept.shape[1]:
            count[user] = kept.shape[1] // 2
            least[user] = part(kept[user], count[user])


@kernel
def part(values, k):
    """Put the ``k`` highest first, in any order; the least of them (Hoare's selection)."""
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if k - 1 <= right:
            high = right
        elif k - 1 >= left:
            low = left
        else:
            break
    return values[k - 1]


@kernel
def spread(items, values, rows, sums, touched):
    """Add a history times the rows of weights of its items to ``sums``; how many are ``touched``, if many then all."""
    begins, others, weights = rows
    n, n_cells = np.uint32(0), 0  # unsigned: else every index is tried for counting from the end
    for row in items:
        n_cells += begins[row + 1] - begins[row]
    for cell, row in enumerate(items):
        value = values[cell]
        for at in range(np.uint64(begins[row]), np.uint64(begins[row + 1])):
            item = np.uint32(others[at])
            before = np.float32(sums[item])
            sums[item] = before + (value * weights[at] + np.float32(0))  # a product that is minus 0 touches too
            if n_cells <= len(sums):
                touched[n] = item
                n += np.uint32(before.view(np.int32) == UNTOUCHED_BITS)
    if n_cells <= len(sums):
        return n
    touched[:-1] = np.arange(len(sums))
    return len(sums)


@kernel
def worth(sums, touched, warm, n, stride):
    """A score that about ``n`` of every ``stride``-th warm item touched have at least; 0 where fewer are above 0."""
    bins = np.zeros(N_BINS, np.int64)
    for at in range(0, len(touched), stride):
        bits = max(np.float32(sums[touched[at]]).view(np.int32), np.int32(0))
        bins[bits >> BIN_BITS] += warm[touched[at]]
    lowest, above = N_BINS - 1, bins[N_BINS - 1]
    while lowest > 0 and above < n:
        lowest -= 1
        above += bins[lowest]
    return np.int32(lowest << BIN_BITS).view(np.float32)


@kernel
def entries_from(worst, sums, touched, warm, entries):
    """Fill ``entries`` with those of warm items that have at least ``worst`` and are above 0; how many they are."""
    n = 0
    for one in touched:
        item = np.uint32(one)
        if sums[item] >= worst and sums[item] > 0 and warm[item]:
            entries[n] = entry(sums[item], one)
            n += 1
    return n


@kernel
def best_touched(sums, touched, warm, entries, codes, scores):
    """Fill ``codes`` and ``scores`` ``(k,)`` with the best warm items above 0; -1 and 0 where none is."""
    k = len(codes)
    worst = worth(sums, touched, warm, 3 * k // (2 * SAMPLED), SAMPLED)
    n = entries_from(worst, sums, touched, warm, entries)
    if n < k and worst > 0:
        n = entries_from(worth(sums, touched, warm, k, 1), sums, touched, warm, entries)
    if n > k:
        part(entries[:n], k)
        n = k
    entries[:n].sort()
    codes[n:] = NOWHERE
    scores[n:] = 0
    for place in range(n):
        one = entries[n - 1 - place]
        codes[place], scores[place] = LAST_CODE - (one & LAST_CODE), score_of(one)


@kernel
def mark(codes, n_first, marks):
    """Mark the first ``n_first`` codes that are not barred, up to a -1."""
    for code in codes:
        if code < 0 or n_first == 0:
            break
        if marks[code] != BARRED:
            marks[code] = CANDIDATE
            n_first -= 1


@kernel
def collect(marks, union):
    """Put the candidates into ``union``, rising, and clear all marks; how many they are."""
    n, eights = 0, marks.view(np.uint64)
    for eight in range(len(eights)):
        if eights[eight]:
            for item in range(EIGHT * eight, EIGHT * (eight + 1)):
                union[n] = item
                n += marks[item] == CANDIDATE
            eights[eight] = 0
    return n


@kernel
def set_places(codes, position, places, column):
    """The place of each code in a list, where it is among the candidates."""
    for place, code in enumerate(codes):
        if code < 0:
            break
        if position[code] >= 0:
            column[position[code]] = places[place]


@kernel
def unite(own, lists, found, popular, n_first, marks, union):
    """Put the first of all lists that are not ``own`` into ``union``, rising; how many they are."""
    for item in own:
        marks[item] = BARRED
    for some in (lists, found, popular):
        for codes in some:
            mark(codes, n_first, marks)
    return collect(marks, union)


@kernel
def clear(items, values, empty):
    for item in items:
        values[item] = empty


@kernel
def by_histories(histories, weights, owned, warm, found, popular, n_first, places, far, begins, union, columns, which):
    """Candidates of users, and what the sources by history say of them.

    ``histories``, ``weights``: begins, columns and values of sparse rows, each a tuple by source; ``which`` are those
    sources' places among all. ``owned``: begins and items of what users are not shown. ``found``: codes
    ``(n_users, n_other_sources, k)``; ``popular`` ``(n_lists, n)``; both end with -1. The candidates of a user, rising,
    begin at ``begins[user]`` in ``union`` and ``columns`` ``(room, n_sources, 2)``: scores and ``places`` ``(k,)``.
    """
    n_items, n_sources, k = len(warm), len(which), len(places)
    sums, touched = np.full((n_sources, n_items), UNTOUCHED), np.empty((n_sources, n_items + 1), np.int32)
    n_touched, position = np.zeros(n_sources, np.int64), np.full(n_items, np.int64(NOWHERE))
    codes, scores = np.empty((n_sources, k), np.int32), np.empty((n_sources, k), np.float32)
    entries = np.empty(n_items, np.int64)
    marks = np.zeros(-(-n_items // EIGHT) * EIGHT, np.uint8)
    for user in range(len(begins) - 1):
        own = owned[1][owned[0][user] : owned[0][user + 1]]
        for s in range(n_sources):
            cells = slice(histories[0][s][user], histories[0][s][user + 1])
            rows = weights[0][s], weights[1][s], weights[2][s]
            n = spread(histories[1][s][cells], histories[2][s][cells], rows, sums[s], touched[s])
            clear(own, sums[s], UNTOUCHED)
            best_touched(sums[s], touched[s, :n], warm, entries, codes[s], scores[s])
            n_touched[s] = n
        begin = begins[user]
        begins[user + 1] = begin + unite(own, codes, found[user], popular, n_first, marks, union[begin:])
        mine = union[begin : begins[user + 1]]
        for at, item in enumerate(mine):
            position[item] = at
        for s in range(n_sources):
            told = columns[begin : begins[user + 1], which[s]]
            best = max(scores[s, 0], LEAST_BEST)
            for at, item in enumerate(mine):
                told[at, 0], told[at, 1] = (sums[s, item] + np.float32(0)) / best, far
            set_places(codes[s], position, places, told[:, 1])
            clear(touched[s, : n_touched[s]], sums[s], UNTOUCHED)
        clear(mine, position, NOWHERE)
