"""Pseudonyms: a keyed hash of an id, made the moment the id enters and whenever it is looked up."""

import hashlib
import hmac

PSEUDONYM_BYTES = 16


def pseudonym(secret: bytes, raw: str, domain: str = "user") -> str:
    """HMAC-SHA-256 of ``domain NUL raw`` cut to 16 bytes, as 32 hex digits.

    ``domain`` keeps ids of different kinds (user, session, basket) apart. The key's version travels beside the
    pseudonym (``events.key_version``, the manifest, the release), not inside it.
    """
    message = domain.encode() + b"\0" + raw.encode("utf-8", "surrogatepass")
    return hmac.digest(secret, message, hashlib.sha256)[:PSEUDONYM_BYTES].hex()
