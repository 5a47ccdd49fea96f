"""The simulator's own devices keep the contract of their roles."""

from __future__ import annotations

import pytest

from fsmcollect.sim.beamline import ROLES
from tests.testing.conformance.simulated import Bench


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_simulated_device_of_every_role_conforms(role: str) -> None:
    examination = Bench(role).examine()
    assert examination.conforms, str(examination)
    assert examination.left_out == ()
