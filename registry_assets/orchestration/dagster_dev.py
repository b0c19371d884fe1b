"""Dagster's command line, with a `dagster dev` whose webserver also serves contact sheets."""

from registry_assets.orchestration.internals import run_dagster

if __name__ == "__main__":
    run_dagster("registry_assets.orchestration.webserver")
