"""Faults as data, and the kernel that applies them: `values` (what), `commands` (of which command), `line`, `hardware`.

`injector` has the faults of one run; `declared` says which must be survived, and how, `survival` judges a run by it.
"""
