"""The only modules of the jobs that touch the world: lake, Spark, Redis, clock and errors."""
