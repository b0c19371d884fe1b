"""What people decide about single images; `decided.py` beside this folder reads it.

decider.py     deciding, and taking it back
on_arrival.py  what is decided before a stage first runs over what was measured
stale.py       what has to be made again
"""
