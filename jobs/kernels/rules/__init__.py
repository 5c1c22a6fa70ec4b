"""Business rules on one user's ranked candidates: who may be shown what, and in which place."""
