"""The only package that imports Dagster.

building.py       `build_definitions`: assets, checks, jobs and sensors of a registry
component.py      the same for a `dg` project, from YAML
assets.py         the assets
names.py          names that tell one registry from another in the same Dagster
io_manager.py     records their results as versions
describing.py     the metadata of a materialization, whoever made the version
batch_job.py      the job that brings many units up to date in one run
checks.py         asset checks
comparison.py     whether metafiles, graph, event log and cache agree
publish_job.py    `registry publish` for the UI
webserver.py      serves contact sheets to browsers
services.py       starts and ends webserver, daemon and code server for `registry ui`
daemon.py         the daemon that `registry ui` starts
sheet_history.py  the contact sheets that version 0.1.0 put into Dagster's history
internals.py      the private names of Dagster that are used, and why
history/          Dagster's history of a registry: opening, reading and updating it
sensors/          sensors and automation conditions
"""
