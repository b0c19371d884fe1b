"""Decisions about single images, and what helps people make them.

deciding.py           making and withdrawing decisions
initial_decisions.py  automatic decisions, before a stage first reads a collection
duplicates.py         finding duplicate and similar pictures
"""
