"""The only package that imports Dagster.

building.py       `build_definitions`: assets, checks, jobs and sensors of a registry
component.py      the same for a `dg` project, from YAML
assets.py         the assets
names.py          names that tell one registry from another in the same Dagster
io_manager.py     where their results become versions
describing.py     what Dagster is told of a version, whoever made it
batch_job.py      the job that makes many units in one run
checks.py         asset checks
comparison.py     whether metafiles, graph, event log and cache tell the same story
publish_job.py    `registry publish` for the UI
webserver.py      contact sheets for browsers
dagster_dev.py    `dagster dev` with that webserver
sheet_history.py  the contact sheets that version 0.1.0 put into Dagster's history
internals.py      what is used of Dagster beyond its public interface, and why
history/          Dagster's history of a registry: opened, read, brought up to date
sensors/          what runs by itself
"""
