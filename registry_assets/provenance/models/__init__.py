"""Models and the data that they were trained on.

links.py    what MLflow keeps of both; the only module that imports it
tracing.py  from models to raw collections, and from a file to models
report.py   saying so
"""
