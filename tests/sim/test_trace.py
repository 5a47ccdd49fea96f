"""The trace orders what happened, and its digest is the run's fingerprint."""

from __future__ import annotations

import hashlib

import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.sim.kernel import Kernel
from fsmcollect.sim.trace import Line, Trace


def record(*notes: tuple[int, str, str], listener: list[tuple[int, list[Line]]] | None = None) -> str:
    """Digest of a run in which these notes were made."""
    kernel = Kernel()
    trace = Trace(kernel)
    if listener is not None:
        trace.listeners.append(lambda at_us, lines: listener.append((at_us, list(lines))))

    async def body() -> None:
        for when_us, source, text in sorted(notes, key=lambda note: note[0]):
            if when_us > kernel.now_us:
                await kernel.wait(when_us - kernel.now_us)
            trace.note(source, text)

    kernel.run(body)
    return trace.sha256()


def test_nothing_happened_has_the_digest_of_nothing() -> None:
    assert record() == hashlib.sha256().hexdigest()


def test_lines_of_one_instant_are_sorted_by_source_and_each_source_keeps_its_order() -> None:
    heard: list[tuple[int, list[Line]]] = []
    record((5, "b", "2"), (5, "a", "z"), (5, "b", "1"), (7, "a", "y"), listener=heard)
    assert heard == [(5, [("a", "z"), ("b", "2"), ("b", "1")]), (7, [("a", "y")])]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), unique=True), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_devices_within_an_instant(
    notes: list[tuple[int, str]], rng: st.DataObject
) -> None:
    shuffled = list(notes)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert record(*((t, s, "x") for t, s in notes)) == record(*((t, s, "x") for t, s in shuffled))


def test_the_digest_depends_on_the_instant_the_source_the_text_and_a_sources_own_order() -> None:
    digests = {
        record((1, "a", "x"), (1, "a", "y")),
        record((1, "a", "y"), (1, "a", "x")),
        record((1, "a", "x"), (2, "a", "y")),
        record((1, "b", "x"), (1, "a", "y")),
        record((1, "a", "x"), (1, "a", "z")),
    }
    assert len(digests) == 5


def test_an_instant_reaches_the_listeners_when_it_is_over() -> None:
    kernel = Kernel()
    trace = Trace(kernel)
    heard: list[int] = []
    trace.listeners.append(lambda at_us, _: heard.append(at_us))

    async def body() -> None:
        trace.note("a", "x")
        kernel.after(0, lambda: trace.note("b", "same instant"))
        await trio.lowlevel.checkpoint()
        assert heard == []
        await kernel.wait(1)
        assert heard == [0]
        trace.note("a", "last")

    kernel.run(body)
    assert heard == [0, 1]


def test_memory_stays_flat() -> None:
    kernel = Kernel()
    trace = Trace(kernel)

    async def body() -> None:
        for _ in range(1000):
            trace.note("a", "x")
            await kernel.wait(1)
        assert len(trace._lines) <= 1

    kernel.run(body)
