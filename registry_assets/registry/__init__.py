"""The registry as declared and recorded; knows neither Dagster nor Git's history.

reading.py         metafiles and settings -> a `Registry`
last_reading.py    cache of the last `Registry` read, and what was written since
rereading.py       what changed since -> the same as reading all, where that is sure
kept_answers.py    where such caches are stored, and what invalidates them from outside
metafile_walk.py   the one directory walk that finds metafiles
translator.py      every rule that turns a path into a key, group, partition or description
decisions.py       decisions about single images, in all data sets
lineage/           the graph of outputs and the assets that represent them
status/            what is up to date
contact_sheets.py  preview images of a version, made on request
thumbnails.py      thumbnails and previews of pictures, made on request
home.py            the registry's DAGSTER_HOME
sharing.py         file permissions in a shared registry
"""
