"""The jars by which Spark reads and writes a lake on S3."""
