"""The ranking recipe: sources fitted at a cut, features of their candidates, and a model that ranks them.

Everything is chosen by the night itself, from rolling cuts inside what it knows. numpy in, numpy out.
"""
