"""What all parts agree on: tables, identities, packed values, keys and the release. Imports nothing of ours."""

__version__ = "0.1.0"
