"""The name by which training code written for version 0.1.0 finds `ModelLinks`.

links.py  `provenance.models.links` under its former name
"""
