"""The graph of outputs, and the assets that stand for them.

graph.py          the graph as values
report.py         saying what it is, to people and to programs
groups.py         what is declared, gathered into what becomes one asset
path_index.py     which outputs a path overlaps
code_versions.py  how command, parameters and code differ from what `dvc.lock` records
building.py       building the graph of a registry
taking_in.py      which data sets take a collection in, and which assets follow
file_lineage.py   files followed through the graph, upstream and downstream
derivation.py     which file upstream a file was made from: the rules
"""
