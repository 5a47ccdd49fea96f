"""What the checkers look at: a fixed set of runs on the simulated beamline, and what must hold of each.

Everything is judged from outside: by the simulator's checkers, by what devices were told and when, and by plain
arithmetic on what was asked for. No look knows which mistake it is to find, and none calls a unit test.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.collecting.rehearsing import WAYS, Play
from tests.mutants import lying, owning, stopping, stuck, sweeping
from tests.mutants.judging import OTHER, check_done, check_dose


def undisturbed() -> None:
    for request in (*WAYS.values(), *OTHER.values()):
        play = Play(request)
        gains = play.simulated.kernel.run(play.simulated.diodes.read_gains)
        play.run()
        check_done(play)
        check_dose(play)
        assert play.simulated.kernel.run(play.simulated.diodes.read_gains) == gains, "gains that were not put back"
        assert not play.simulated.detector_cover.is_open_now, "the detector cover stayed open"


#: In the order in which they are looked at: what is quick and finds much comes first.
LOOKS: tuple[Callable[[], None], ...] = (
    undisturbed,
    stopping.aborted,
    stopping.held,
    stopping.beam_lost,
    lying.lied_to,
    lying.lost_axis,
    lying.lost_once,
    lying.hung_once,
    lying.faulty,
    lying.wrong_blocks,
    stopping.jammed_while_held,
    stopping.held_to_the_end,
    owning.one_at_a_time,
    owning.found_open,
    owning.people,
    stuck.deaf_adapters,
    stuck.lost_detector,
    stuck.slow_shutter,
    stuck.hung_pause,
    stopping.taken_up_again,
    stuck.broken_adapters,
    stuck.unanswered,
    sweeping.bundled,
    stopping.aborted_after_a_hold,
    stopping.aborted_at_events,
    stopping.aborted_in_events,
    sweeping.swept,
    stopping.struck_at_every_checkpoint,
)
