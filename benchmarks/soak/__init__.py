"""``make soak``: both DAGs under the real scheduler while everything around them is killed, and what came of it."""
