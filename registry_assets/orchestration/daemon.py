"""Dagster's daemon, as `registry ui` starts it."""

from registry_assets.orchestration.internals import run_daemon

if __name__ == "__main__":
    run_daemon()
