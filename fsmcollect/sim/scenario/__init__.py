"""Scenarios: `values` (what they are), `reading` and `writing` (TOML), `library` (the bundled ones)."""
