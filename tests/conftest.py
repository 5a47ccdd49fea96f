"""What every test shares: how Hypothesis behaves."""

from __future__ import annotations

import os

from hypothesis import settings

# `ci` is what runs unless asked otherwise: the same examples every time, so that a red build is red for its change.
# `explore` looks further with fresh examples: HYPOTHESIS_PROFILE=explore, and `make prove`. No deadline in either: how
# long an example takes says more about the machine than about the code.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
