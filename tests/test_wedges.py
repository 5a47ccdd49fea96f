"""Plans: every image once, where it belongs, in order; and what is left of them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import InvalidRequest
from fsmcollect.request import Files, InverseBeam, Request, SweepRequest, from_dict
from fsmcollect.wedges import ImageRanges, Pass, Plan, Wedge, as_json, make_plan, missing


def ask(
    *,
    width: Fraction | str = "1/10",
    images: int = 10,
    start: Fraction | int | str = 0,
    first: int = 1,
    size: int | None = None,
    inverse: int | None = None,
    overlap: Fraction | int | str = 0,
) -> Request:
    """A request with the few settings that geometry depends on."""
    sweep = SweepRequest(
        omega_start_deg=start,
        image_width_deg=width,
        images=images,
        exposure_s=0.01,
        first_image=first,
        wedge_images=size,
        overlap_deg=overlap,
    )
    inverse_beam = None if inverse is None else InverseBeam(wedge_images=inverse)
    return Request(files=Files(directory="d", prefix="lyso"), sweep=sweep, inverse_beam=inverse_beam)


def starts(plan: Plan) -> list[float]:
    return [float(wedge.omega_start_deg) for wedge in plan.wedges]


@st.composite
def requests(draw: st.DrawFn, *, overlapping: bool = True) -> Request:
    """Any sweep of a few hundred images, split in any way."""
    width = draw(st.fractions(-5, 5, max_denominator=1000))
    images, size = draw(st.integers(1, 300)), draw(st.none() | st.integers(1, 320))
    inverse = size if draw(st.booleans()) else None
    overlap = Fraction(0)
    if overlapping and size is not None:
        full = abs(width) * size
        overlap = -draw(st.fractions(0, 30, max_denominator=100))
        if full and draw(st.booleans()):
            overlap = full * draw(st.fractions(0, Fraction(99, 100), max_denominator=100))
    return ask(
        width=width,
        images=images,
        start=draw(st.fractions(-720, 720, max_denominator=1000)),
        first=draw(st.integers(0, 1000)),
        size=None if inverse else size,
        inverse=inverse,
        overlap=overlap,
    )


def numbers(wedges: tuple[Wedge, ...], series: str) -> list[int]:
    return [
        image
        for wedge in wedges
        if wedge.series.name == series
        for image in range(wedge.first_image, wedge.last_image + 1)
    ]


# -- properties -------------------------------------------------------------------------------------------------------


@given(requests())
def test_every_asked_image_is_taken_exactly_once_in_each_series_and_in_order(request_: Request) -> None:
    plan, sweep = make_plan(request_), request_.sweep
    expected = list(range(sweep.first_image, sweep.first_image + sweep.images))
    for series in plan.series:
        assert numbers(plan.wedges, series.name) == expected
        assert (series.first_image, series.last_image, series.images) == (expected[0], expected[-1], len(expected))
    assert plan.images == len(expected) * len(plan.series) == sum(wedge.images for wedge in plan.wedges)


@given(requests())
def test_wedges_are_counted_in_the_order_of_collection_and_only_the_last_of_a_series_is_smaller(
    request_: Request,
) -> None:
    plan = make_plan(request_)
    assert [wedge.index for wedge in plan.wedges] == list(range(len(plan.wedges)))
    assert len({series.name for series in plan.series}) == len(plan.series)
    full = min(request_.wedge_images, request_.sweep.images)
    for series in plan.series:
        sizes = [wedge.images for wedge in plan.wedges if wedge.series is series]
        assert all(size == full for size in sizes[:-1])
        assert 1 <= sizes[-1] <= full


@given(requests(overlapping=False))
def test_no_image_drifts_from_its_exact_angle(request_: Request) -> None:
    plan, sweep = make_plan(request_), request_.sweep
    for wedge in plan.wedges:
        turned = 180 if wedge.series.pass_ is Pass.INVERSE else 0
        for image in (wedge.first_image, wedge.last_image):
            exact_start = sweep.omega_start_deg + turned + (image - sweep.first_image) * sweep.image_width_deg
            assert wedge.image_start_deg(image) == exact_start
        assert wedge.omega_end_deg == wedge.omega_start_deg + wedge.width_deg


@given(requests(overlapping=False))
def test_the_wedges_of_a_series_join_without_a_gap_and_cover_what_was_asked(request_: Request) -> None:
    plan = make_plan(request_)
    for series in plan.series:
        mine = [wedge for wedge in plan.wedges if wedge.series is series]
        assert all(before.omega_end_deg == after.omega_start_deg for before, after in pairwise(mine))
        assert mine[-1].omega_end_deg - mine[0].omega_start_deg == request_.sweep.total_width_deg


@given(requests())
def test_inverse_beam_takes_each_wedge_again_at_once_half_a_turn_on(request_: Request) -> None:
    plan = make_plan(request_)
    if request_.inverse_beam is None:
        assert {wedge.series.pass_ for wedge in plan.wedges} == {Pass.DIRECT}
        return
    for direct, inverse in zip(plan.wedges[::2], plan.wedges[1::2], strict=True):
        assert (direct.series.pass_, inverse.series.pass_) == (Pass.DIRECT, Pass.INVERSE)
        assert (direct.first_image, direct.images) == (inverse.first_image, inverse.images)
        assert inverse.omega_start_deg - direct.omega_start_deg == 180


@given(requests())
def test_each_wedge_starts_before_the_end_of_the_one_before_by_the_overlap(request_: Request) -> None:
    plan, sweep = make_plan(request_), request_.sweep
    direction = -1 if sweep.image_width_deg < 0 else 1
    for series in plan.series:
        mine = [wedge for wedge in plan.wedges if wedge.series is series]
        for before, after in pairwise(mine):
            assert before.omega_end_deg - after.omega_start_deg == direction * sweep.overlap_deg
            assert (after.omega_start_deg - before.omega_start_deg) * direction >= 0


@given(st.integers(1, 360), st.integers(1, 40), st.integers(1, 40))
def test_a_whole_turn_covers_every_angle_modulo_360(images: int, inverse: int, start: int) -> None:
    plan = make_plan(ask(width=Fraction(360, images), images=images, start=start, inverse=inverse))
    for series in plan.series:
        covered = sorted(
            wedge.image_start_deg(n) % 360
            for wedge in plan.wedges
            if wedge.series is series
            for n in range(wedge.first_image, wedge.last_image + 1)
        )
        assert all(b - a == Fraction(360, images) for a, b in pairwise([*covered, covered[0] + 360]))


@given(requests(), st.data())
def test_what_is_missing_and_what_exists_are_the_whole_plan(request_: Request, data: st.DataObject) -> None:
    plan, sweep = make_plan(request_), request_.sweep
    everything = range(sweep.first_image, sweep.first_image + sweep.images)
    existing = {
        series.name: ImageRanges.from_numbers(data.draw(st.sets(st.sampled_from(everything)))) for series in plan.series
    }
    left = missing(plan, existing)
    for series in plan.series:
        assert numbers(left, series.name) == [n for n in everything if n not in existing[series.name]]
    for part in left:
        whole = plan.wedges[part.index]
        assert part.series is whole.series
        assert whole.first_image <= part.first_image <= part.last_image <= whole.last_image
        assert part.image_start_deg(part.last_image) == whole.image_start_deg(part.last_image)
    assert [part.index for part in left] == sorted(part.index for part in left)


def test_nothing_is_missing_of_a_complete_plan_and_everything_of_an_unbegun_one() -> None:
    plan = make_plan(ask(images=25, inverse=10))
    whole = {series.name: ImageRanges(((1, 26),)) for series in plan.series}
    assert missing(plan, whole) == ()
    assert missing(plan, {}) == plan.wedges
    assert missing(plan, {"another_1": ImageRanges(((1, 26),))}) == plan.wedges


# -- examples ---------------------------------------------------------------------------------------------------------


def test_diamonds_manual_is_followed_0_to_4_then_180_to_184_then_5_to_9() -> None:
    plan = make_plan(ask(width="1/1", images=10, inverse=5))
    assert starts(plan) == [0.0, 180.0, 5.0, 185.0]
    assert [wedge.series.name for wedge in plan.wedges] == ["lyso_1", "lyso_1_inverse"] * 2


def test_a_wedge_larger_than_the_sweep_is_the_sweep() -> None:
    # MXCuBE makes five wedges of no frames of this.
    (wedge,) = make_plan(ask(images=2, size=5)).wedges
    assert (wedge.first_image, wedge.images) == (1, 2)


def test_negative_rotation_goes_down_and_overlaps_upwards() -> None:
    assert starts(make_plan(ask(width="-1/1", images=6, size=2, start=10))) == [10.0, 8.0, 6.0]
    assert starts(make_plan(ask(width="-1/1", images=6, size=2, start=10, overlap=1))) == [10.0, 9.0, 8.0]


def test_reference_images_90_degrees_apart_are_asked_by_a_negative_overlap() -> None:
    assert starts(make_plan(ask(width="1/1", images=4, size=1, overlap=-89))) == [0.0, 90.0, 180.0, 270.0]


def test_stills_stand_where_they_are_asked_and_a_negative_overlap_steps_them() -> None:
    assert starts(make_plan(ask(width="0/1", images=4, size=2, start=30))) == [30.0, 30.0]
    assert starts(make_plan(ask(width="0/1", images=4, size=1, overlap=-10))) == [0.0, 10.0, 20.0, 30.0]


def test_an_overlap_with_a_single_wedge_has_no_effect() -> None:
    assert starts(make_plan(ask(images=10, size=10, overlap="1/2"))) == [0.0]


@pytest.mark.parametrize("start", [-725, 0, 360, 1000])
def test_any_start_is_kept_as_it_was_asked(start: int) -> None:
    assert make_plan(ask(start=start)).wedges[0].omega_start_deg == start


def test_the_last_of_a_million_images_starts_at_the_exact_rational() -> None:
    plan = make_plan(ask(width="1/3", images=1_000_000, size=100, start="1/7"))
    assert plan.wedges[-1].image_start_deg(1_000_000) == Fraction(1, 7) + Fraction(999_999, 3)


def test_all_3600_widths_in_tenths_of_a_degree_give_the_exact_number_of_images() -> None:
    # int(width / increment) loses an image for 1,235 of them.
    def images(tenths: int) -> int:
        sweep = {"image_width_deg": 0.1, "total_width_deg": tenths / 10, "exposure_s": 0.01}
        return make_plan(from_dict({"files": {"directory": "d", "prefix": "p"}, "sweep": sweep})).images

    assert [images(tenths) for tenths in range(1, 3601)] == list(range(1, 3601))
    assert sum(int(tenths / 10 / 0.1) != tenths for tenths in range(1, 3601)) > 1000, "floats would have done"


def test_a_part_keeps_its_place_and_its_angles_and_no_image_can_be_outside() -> None:
    wedge = make_plan(ask(width="1/10", images=300, inverse=100, overlap=1)).wedges[4]
    part = wedge.part(250, 10)
    assert (part.index, part.series, part.first_image, part.last_image) == (4, wedge.series, 250, 259)
    assert part.omega_start_deg == wedge.image_start_deg(250) == Fraction(249, 10) - 2
    assert part.part(255, 1).omega_start_deg == wedge.image_start_deg(255)
    for first, images in ((200, 2), (300, 2), (250, 0), (250, -1), (201, 101)):
        with pytest.raises(ValueError, match="no part of lyso_1"):
            wedge.part(first, images)
    with pytest.raises(ValueError, match="image 200 is not in lyso_1, 201-300"):
        wedge.image_start_deg(200)


def test_the_plan_in_json_names_the_order_of_collection() -> None:
    assert as_json(make_plan(ask(images=3, inverse=2, first=0)), 1.5) == {
        "images": 6,
        "duration_s": 1.5,
        "wedges": [
            {
                "index": index,
                "series": series,
                "pass": pass_,
                "omega_start_deg": start,
                "image_width_deg": 0.1,
                "images": images,
                "first_image": first,
            }
            for index, (series, pass_, start, images, first) in enumerate(
                [
                    ("lyso_1", "direct", 0.0, 2, 0),
                    ("lyso_1_inverse", "inverse", 180.0, 2, 0),
                    ("lyso_1", "direct", 0.2, 1, 2),
                    ("lyso_1_inverse", "inverse", 180.2, 1, 2),
                ]
            )
        ],
    }


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"size": 10, "overlap": 1}, "must be smaller than a full wedge, which is 1 deg wide"),
        ({"inverse": 10, "overlap": 2}, "must be smaller than a full wedge, which is 1 deg wide"),
        ({"size": 2, "overlap": 1, "width": "0/1"}, "must be 0 deg for stills, or negative"),
        ({"overlap": 1}, "set sweep.wedge_images"),
        ({"overlap": -1}, "set sweep.wedge_images"),
    ],
)
def test_an_overlap_without_meaning_is_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as refusal:
        ask(**settings)  # type: ignore[arg-type]
    assert refusal.value.problems[0].field == "sweep.overlap_deg"


def test_more_wedges_than_memory_should_hold_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="makes 10,000,000 wedges; at most 1,000,000"):
        ask(images=10_000_000, size=1)


# -- sets of images ---------------------------------------------------------------------------------------------------

SETS = st.sets(st.integers(0, 60))


@given(SETS, st.integers(0, 60), st.integers(0, 60))
def test_ranges_of_images_behave_like_sets_of_numbers(one: set[int], start: int, stop: int) -> None:
    a = ImageRanges.from_numbers(one)
    assert list(a) == sorted(one)
    assert len(a) == len(one)
    assert all((n in a) is (n in one) for n in range(-1, 62))
    assert a.add(start, stop) == ImageRanges.from_numbers(one | set(range(start, stop)))
    assert [n for gap in a.gaps(start, stop) for n in range(*gap)] == [n for n in range(start, stop) if n not in one]
    assert all(left[1] < right[0] for left, right in pairwise(a.ranges))


def test_ranges_take_memory_by_their_number_and_not_by_their_images() -> None:
    images = ImageRanges(((1, 10_000_000), (9_999_999, 20_000_000), (30, 30)))
    assert images.ranges == ((1, 20_000_000),)
    assert len(images) == 19_999_999
    assert "1" not in images


# -- size (how long it takes is measured in benchmarks/) --------------------------------------------------------------


def test_a_million_images_in_ten_thousand_inverse_beam_wedges_are_planned_without_drift() -> None:
    plan = make_plan(ask(images=500_000, inverse=100))
    assert len(plan.wedges) == 10_000
    assert plan.images == 1_000_000
    last = plan.wedges[-2]
    assert last.image_start_deg(last.last_image) == plan.wedges[0].omega_start_deg + 499_999 * plan.image_width_deg
