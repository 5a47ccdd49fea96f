"""Collecting one crystal: what is done in each state of the collection and wedge machines.

`collection` runs a collection and owns its order; `sample` mounts, `centring` centres, `optics` moves what may move
meanwhile, `exposing` takes one wedge, `storing` keeps its images.
"""
