"""Stages made on other machines.

orders.py     what travels to a worker and back
"""
