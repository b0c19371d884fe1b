"""Stages on workers, and all that may go wrong: real processes, each with a HOME of its own."""
