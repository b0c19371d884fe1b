"""What is let go: pictures that are forgotten, and what the cache need not keep."""
