"""The sample is off-centre until it is centred, and is seen where the geometry says."""

from __future__ import annotations

import math
import random

import attrs
import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect import beamline as roles
from fsmcollect.beamline import Location, Offset
from fsmcollect.errors import DeviceError
from fsmcollect.sim.camera import Backlight, Camera, Head, Sample
from fsmcollect.sim.kernel import Kernel, to_us
from fsmcollect.sim.trace import Trace

HERE = Location(1, 5)


@attrs.define
class View:
    """A camera that looks at a head, and what these stand on."""

    seed: int = 1
    noise_um: float = 0.0
    omega_deg: float = 0.0
    table_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    loaded: Location | None = HERE
    lit: bool = True
    kernel: Kernel = attrs.field(factory=Kernel)
    head: Head = attrs.field(init=False)
    camera: Camera = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.head = Head(self.seed, lambda: self.table_mm, lambda: self.omega_deg, from_changer=lambda: self.loaded)
        self.camera = Camera(
            self.kernel,
            Trace(self.kernel),
            random.Random(f"{self.seed}/camera"),
            self.head,
            lit=lambda: self.lit,
            noise_um=self.noise_um,
        )

    def locate(self) -> Offset | None:
        return self.kernel.run(self.camera.locate)

    def snapshot(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return self.kernel.run(self.camera.snapshot)

    def see(self, omega_deg: float) -> Offset:
        self.omega_deg = omega_deg
        seen = self.locate()
        assert seen is not None
        return seen


def test_they_have_their_roles() -> None:
    kernel = Kernel()
    of_camera: roles.Camera = View().camera
    of_backlight: roles.Backlight = Backlight(kernel, Trace(kernel))
    assert [type(of_camera), type(of_backlight)] == [Camera, Backlight]


@given(st.integers(0, 2**32), st.floats(-720.0, 720.0))
def test_two_views_ninety_degrees_apart_centre_the_sample(seed: int, omega_deg: float) -> None:
    """The formulas of the module's docstring, as a sequencer would use them."""
    view = View(seed)
    assert not view.head.is_centred(1e-3)
    front, side = view.see(omega_deg), view.see(omega_deg + 90.0)
    cos, sin = math.cos(math.radians(omega_deg)), math.sin(math.radians(omega_deg))
    dx = (front.along_um + side.along_um) / 2.0
    dy = front.across_um * cos - side.across_um * sin
    dz = front.across_um * sin + side.across_um * cos
    x_mm, y_mm, z_mm = view.table_mm
    view.table_mm = (x_mm + dx / 1e3, y_mm + dy / 1e3, z_mm + dz / 1e3)
    assert view.head.is_centred(1e-6)
    assert view.head.centred_table_mm() == pytest.approx(view.table_mm)


def test_at_omega_0_across_is_y_and_at_90_it_is_z() -> None:
    view = View()
    view.head.put_sample(Location(1, 5), Sample(10.0, 20.0, 30.0))
    view.table_mm = (0.001, 0.002, 0.003)
    assert view.see(0.0) == Offset(9.0, 18.0)
    assert attrs.astuple(view.see(90.0)) == pytest.approx((9.0, 27.0))
    assert attrs.astuple(view.see(180.0)) == pytest.approx((9.0, -18.0))


def test_locating_has_noise_of_about_a_micrometre_and_takes_time() -> None:
    view = View(noise_um=1.0)
    exact = view.head.seen_at(0.0)
    assert exact is not None
    errors = [view.see(0.0).along_um - exact.along_um for _ in range(50)]
    assert 0.5 < float(np.std(errors)) < 1.5
    assert view.kernel.now_us == 50 * to_us(0.22)
    assert [View(noise_um=1.0).see(0.0) for _ in range(2)] == [View(noise_um=1.0).see(0.0)] * 2


def test_no_sample_no_light_or_out_of_sight_is_none() -> None:
    assert View(loaded=None).locate() is None
    assert View(lit=False).locate() is None
    view = View()
    view.head.put_sample(Location(1, 5), Sample(501.0, 0.0, 0.0))
    assert view.locate() is None
    view.head.put_sample(Location(1, 5), Sample(0.0, 0.0, 501.0))
    assert view.see(0.0) == Offset(0.0, 0.0)
    view.omega_deg = 90.0
    assert view.locate() is None
    assert not View(loaded=None).head.is_centred(1e9)


def test_every_sample_has_its_own_offset_and_keeps_it() -> None:
    view = View()
    samples = {view.head.sample_of(Location(1, pin)) for pin in range(1, 17)}
    assert len(samples) == 16
    assert View().head.sample_of(Location(1, 5)) == view.head.sample_of(Location(1, 5))
    assert View(seed=2).head.sample_of(Location(1, 5)) != view.head.sample_of(Location(1, 5))
    assert all(abs(coordinate) <= 300.0 for s in samples for coordinate in (s.x_um, s.y_um, s.z_um))


def test_a_person_mounts_a_sample_of_their_own() -> None:
    head = View(loaded=None).head
    assert (head.sample, head.offset_um(), head.centred_table_mm()) == (None, None, None)
    head.mount_by_hand()
    assert head.sample == head.sample_of(None)
    head.take_off_by_hand()
    assert not head.is_centred(1e9)


def test_a_snapshot_shows_the_crystal_where_it_is_seen() -> None:
    view = View()
    view.head.put_sample(Location(1, 5), Sample(100.0, 200.0, 0.0))
    picture = view.snapshot()
    assert picture.shape == (240, 320)
    assert picture.dtype == np.uint8
    rows, columns = np.nonzero(picture == 70)
    pixel_um = view.camera.pixel_um()
    assert (columns.mean() - 159.5) * pixel_um == pytest.approx(100.0, abs=pixel_um)
    assert (119.5 - rows.mean()) * pixel_um == pytest.approx(200.0, abs=pixel_um)
    assert np.nonzero(picture == 30)[1].max() < columns.mean()


def test_a_snapshot_without_sample_is_light_and_without_light_is_dark() -> None:
    assert View(loaded=None).snapshot().min() > 200
    assert View(lit=False).snapshot().max() < 10


def test_the_backlight_travels_and_the_last_command_wins() -> None:
    kernel = Kernel()
    backlight = Backlight(kernel, Trace(kernel))

    async def move_in() -> None:
        with pytest.raises(DeviceError, match="was sent to out on its way to in"):
            await backlight.move_in()

    async def body() -> None:
        assert not await backlight.is_in()
        await backlight.move_in()
        assert await backlight.is_in()
        await backlight.move_out()
        assert backlight.is_out_now
        async with trio.open_nursery() as nursery:
            nursery.start_soon(move_in)
            await kernel.wait(to_us(0.5))
            assert (backlight.is_in_now, backlight.is_out_now) == (False, False)
            await backlight.move_out()
            assert (backlight.is_in_now, backlight.is_out_now) == (False, True)

    kernel.run(body)


def test_moving_the_backlight_out_is_commanded_before_the_first_checkpoint() -> None:
    kernel = Kernel()
    backlight = Backlight(kernel, Trace(kernel), starts_in=True)

    async def body() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await backlight.move_out()
        await kernel.wait(to_us(1.1))
        assert backlight.is_out_now

    kernel.run(body)
