"""The name by which training code written for version 0.1.0 finds `links`."""
