"""What the README of version 0.1.0 had people import in their training code.

It stands in their repositories, so this path has to stay.
"""

from registry_assets.provenance.models.links import ModelLinks

__all__ = ["ModelLinks"]
