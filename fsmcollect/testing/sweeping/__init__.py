"""Sweeps: `points` (where a run is struck), `trying` (one point), `crew` (processes), `engine` (all), `report`."""
