"""The name by which the stage programs of version 0.1.0 ask for decisions.

on_arrival.py  tells their users how to upgrade
"""
