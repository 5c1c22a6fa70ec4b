"""What is known beside who took what when: where events happened, what items cost and are called, what was searched.

``Context`` belongs to events and has their codes of users and items. What it says of people and items at a cut, as
vectors, is in ``affinities``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

UNKNOWN = -1
N_WORDS = 256  # a word is hashed to one of so many columns


@dataclass(frozen=True)
class Searches:
    """Parallel arrays, one entry a search: who, when, and its words ``(n_searches, N_WORDS)``, sparse."""

    user: np.ndarray
    time_s: np.ndarray
    words: sp.csr_matrix

    def where(self, keep: np.ndarray) -> "Searches":
        return Searches(self.user[keep], self.time_s[keep], self.words[keep])


@dataclass(frozen=True)
class Context:
    """``circumstances``: by name, a code of each event, such as of its device. ``price``: of each event, NaN: unknown.

    ``category``: a code of each item; ``words`` ``(n_items, N_WORDS)``, sparse: of its title. Codes of circumstances
    and categories are any numbers from 0 on, or ``UNKNOWN``.
    """

    circumstances: Mapping[str, np.ndarray]
    price: np.ndarray
    category: np.ndarray
    words: sp.csr_matrix
    searches: Searches

    def of_events(self, at: np.ndarray) -> "Context":
        """Of some events (positions or bool), in that order."""
        taken = {name: codes[at] for name, codes in self.circumstances.items()}
        return replace(self, circumstances=taken, price=self.price[at])

    def of_codes(self, users: np.ndarray, items: np.ndarray) -> "Context":
        """Of some users and items, both rising, who are coded by their positions there."""
        found = self.searches.where(np.isin(self.searches.user, users))
        searches = replace(found, user=np.searchsorted(users, found.user))
        return replace(self, category=self.category[items], words=self.words[items], searches=searches)
