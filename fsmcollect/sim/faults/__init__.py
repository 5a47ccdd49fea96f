"""Faults as data, and the kernel that applies them: `values` (what), `commands` (of which command), `line`, `hardware`.

`injector` has the faults of one run; `survival` declares which must be survived, and how.
"""
