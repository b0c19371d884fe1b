"""What people decide about single images, and what helps them decide.

deciding.py           deciding, and taking a decision back
initial_decisions.py  what is decided about a collection before a stage first reads it
duplicates.py         pictures that several collections have
"""
