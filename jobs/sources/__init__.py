"""Event sources: a description in TOML, and what turns files so described into events. Pure but for ``files``."""
