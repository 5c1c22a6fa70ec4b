"""recommendation_id: a signed token that says by itself what was answered, so that an event can name its list."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

import orjson

TOKEN_VERSION = 2  # 1 was signed by HMAC-SHA-256, which takes four times as long
SIGNATURE_BYTES = 12


class Token(NamedTuple):
    """``time_s`` is the moment of the answer (personal) or of the generation (public); ``nonce`` tells lists apart."""

    surface: str
    arm: str
    generation: str | None
    n: int
    time_s: int
    nonce: str


def token_key(secret: bytes) -> bytes:
    """The key of the tokens, derived so that no token says anything about the key of the pseudonyms."""
    return hmac.digest(secret, b"recommendation_id", hashlib.sha256)


def write_token(key: bytes, token: Token) -> str:
    """URL-safe text, about 130 characters."""
    payload = orjson.dumps([TOKEN_VERSION, *token])
    return urlsafe_b64encode(sign(key, payload) + payload).decode().rstrip("=")


def read_token(key: bytes, text: str) -> Token:
    """What a token says.

    Raises:
        ValueError: it was not written with this key, or by another version.
    """
    raw = urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
    signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, sign(key, payload)):
        raise ValueError(f"recommendation_id {text[:40]!r} was not signed with this service's key")
    version, *fields = orjson.loads(payload)
    if version != TOKEN_VERSION:
        raise ValueError(f"recommendation_id of version {version}; allowed: {TOKEN_VERSION}")
    return Token(*fields)


def sign(key: bytes, payload: bytes) -> bytes:
    """Keyed BLAKE2b; ``key`` has at most 64 bytes."""
    return hashlib.blake2b(payload, key=key, digest_size=SIGNATURE_BYTES).digest()
