"""Stages made on other machines."""
