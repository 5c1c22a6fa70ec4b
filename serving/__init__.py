"""Answers look-ups from what was published. Imports schemas and conf only; needs neither numpy nor pyarrow."""
