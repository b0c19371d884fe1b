"""The name by which the stage programs of version 0.1.0 ask for decisions; see `on_arrival`."""
