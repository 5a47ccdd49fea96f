"""Figures that the project promises, measured against their limits."""
