"""Nightshelf on one machine: what ``make run``, ``make serve`` and ``make airflow`` start. Standard library only.

Everything left behind is under ``.nightshelf/``; nothing is left running.
"""
