"""A generated shop of any size, written straight into a lake; see ``benchmarks.shop.stock``."""
