"""What people decide about single images; `decided.py` beside this folder reads it.

decider.py     deciding, and taking it back
on_arrival.py  what is decided when a collection has just been measured
stale.py       what has to be made again
"""
