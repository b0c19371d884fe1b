"""Models and the data that they were trained on.

links.py    links between both in MLflow; the only module that imports it
tracing.py  from models to raw collections, and from a file to models
report.py   these traces as text and as JSON
"""
