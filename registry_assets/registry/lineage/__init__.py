"""The graph of outputs, and the assets that represent them.

graph.py          the graph as values
report.py         the graph as text and as JSON
groups.py         stages and `.dvc` files, grouped by the asset that they become
path_index.py     which outputs a path overlaps
code_versions.py  how command, parameters and code differ from what `dvc.lock` records
building.py       building the graph of a registry
taking_in.py      which data sets import a new collection, and which assets follow
file_lineage.py   files traced through the graph, upstream and downstream
derivation.py     the rules that tell which upstream file a file was made from
"""
