"""Numeric cores of the jobs: numpy in, numpy out, no Spark, no lake, no clock."""
