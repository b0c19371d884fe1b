"""Stages made on other machines.

orders.py     what travels to a worker and back
worker.py     carrying out an order
place.py      the folder of this machine's workers: work trees and a cache
guard.py      ending commands whose worker was killed
versions.py   the versions that results depend on
"""
