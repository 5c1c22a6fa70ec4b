"""Batch jobs: each reads committed tables, transforms, and commits its own."""
