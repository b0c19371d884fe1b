"""What a registry is and what is current in it; knows neither Dagster nor Git's history.

reading.py       metafiles and settings -> a `Registry`
last_reading.py  the `Registry` as it was read last, kept until a metafile changes
kept_answers.py  where such answers are kept, and what they depend on outside the work tree
metafile_walk.py the one walk that finds metafiles, and where it does not look
translator.py    every rule that turns a path into a key, group, partition or description
decisions.py     what was decided about single images, in all data sets
lineage/         the graph of outputs and the assets that stand for them
status/          what is up to date
contact_sheets.py  pictures of what is in a version, made when they are asked for
home.py          where the history of the registry is kept, and leading Dagster there
sharing.py       files that everybody who shares the registry can write
"""
