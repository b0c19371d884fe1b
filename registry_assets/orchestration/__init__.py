"""The only package that imports Dagster.

building.py       `build_definitions`: assets, checks, jobs and sensors of a registry
component.py      the same for a `dg` project, from YAML
assets.py         the assets
resources.py      their configuration
io_manager.py     where their results become versions
metadata.py       what a materialization says of a version
materializing.py  runs planned, and executed in this process
bulk.py           many partitions in one run
progress.py       what a run says while it runs
checks.py         asset checks
comparison.py     whether metafiles, graph, event log and cache tell the same story
publish_job.py    `registry publish` for the UI
sheet_history.py  contact sheets in Dagster's history
history/          Dagster's history of a registry: opened, read, brought up to date
sensors/          what runs by itself
"""
