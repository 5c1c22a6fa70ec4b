"""Pseudonyms: a keyed hash of an id, made the moment the id enters and whenever it is looked up."""

import hashlib
import hmac
from functools import lru_cache

PSEUDONYM_BYTES = 16


def pseudonym(secret: bytes, raw: str, domain: str = "user") -> str:
    """HMAC-SHA-256 of ``domain NUL raw`` cut to 16 bytes, as 32 hex digits.

    ``domain`` keeps ids of different kinds (user, session, basket) apart. The key's version travels beside the
    pseudonym (``events.key_version``, the manifest, the release), not inside it.
    """
    mac = keyed(secret).copy()
    mac.update(domain.encode() + b"\0" + raw.encode("utf-8", "surrogatepass"))
    return mac.digest()[:PSEUDONYM_BYTES].hex()


@lru_cache(8)
def keyed(secret: bytes) -> hmac.HMAC:
    """The hash with its key taken in already, to be copied."""
    return hmac.new(secret, digestmod=hashlib.sha256)
