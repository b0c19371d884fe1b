"""Breaks the product on purpose, from the outside, and compares with an undisturbed run.

`make faults` runs it. Each part is a module with a function `run`, named in the table of
[run.py](run.py); `trials.py` says what a part is given and gives back.
"""
