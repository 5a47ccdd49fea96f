"""Streaming EMPIAR: the rooms of the second job."""
