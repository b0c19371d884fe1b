"""Dagster's command line, whose `dagster dev` starts the webserver that has contact sheets."""

from registry_assets.orchestration.internals import run_dagster

if __name__ == "__main__":
    run_dagster("registry_assets.orchestration.webserver")
