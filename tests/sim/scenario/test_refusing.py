"""Scenarios that are refused: each in one sentence, with file, line and key, and everything at once."""

from __future__ import annotations

import pytest

from fsmcollect.sim.scenario.reading import parse_scenario
from tests.sim.scenario.refusing import FAULT, REQUEST, refusals

HOLD = '[[operator]]\ndoes = "hold"\nat_s = 40\n'
LOST = '[[happens]]\nwhat = "beam lost"\nat_s = 40\n'

REFUSED = {
    "a misspelt key": (
        'sumary = "x"\n' + REQUEST,
        (
            'sumary: unknown key; did you mean "summary"? known are summary, seed, request, requests, '
            "beamline, person, "
            "faults, operator, happens, strike, expect, undisturbed (s.toml, line 1)"
        ),
    ),
    "a seed that is no number": ('seed = "x"\n' + REQUEST, 'seed = "x": must be a number, not text: '),
    "an empty summary": (REQUEST.replace("A scenario.", " "), 'summary = " ": must not be empty (s.toml, line 1)'),
    "no request": (
        "seed = 3\n",
        "request: is required: what is collected, [request.files] and [request.sweep] (s.toml)",
    ),
    "a request and a list": (
        REQUEST + "[[requests]]\n",
        (
            "requests = a list of 1: cannot be asked together with request: give [request], or [[requests]] for a list "
            "(s.toml, line 23)"
        ),
    ),
    "a request that is refused": (
        REQUEST.replace("0.05", "-1"),
        "request.sweep.exposure_s = -1: must be greater than 0 s and at most 86,400 s (s.toml, line 12)",
    ),
    "a request that the beamline refuses": (
        REQUEST.replace("1:5", "9:9"),
        'request.sample.location = "9:9": ',
    ),
    "a beamline without what exposes": (REQUEST + '[beamline]\nwithout = ["goniometer"]\n', "beamline: "),
    "faults that are no list": (
        REQUEST + "[faults]\n",
        "faults = a table of 0: must be a list of tables, each headed [[faults]] (s.toml, line 23)",
    ),
    "an unknown device": (
        REQUEST + FAULT.replace("fast_shutter", "fast_shuter"),
        'faults[0].device = "fast_shuter": is no device; did you mean "fast_shutter"? allowed are goniometer, ',
    ),
    "an unknown command of this device": (
        REQUEST + FAULT.replace("close", "stop"),
        (
            'faults[0].command = "stop": is no command of fast_shutter; allowed are open, close, is_closed '
            "(s.toml, line 25)"
        ),
    ),
    "an unknown effect": (
        REQUEST + FAULT.replace("hangs", "hang"),
        (
            'faults[0].effect = "hang": is no effect; did you mean "hangs"? allowed are refuses, raises, '
            "hangs, delayed, "
            "wrong read-back, drifts, answer lost, no action, resets, stops half-way (s.toml, line 26)"
        ),
    ),
    "an effect that the command cannot have": (
        REQUEST + FAULT.replace("hangs", "wrong read-back") + "call = 1\n",
        (
            'faults[0].effect = "wrong read-back": cannot befall fast_shutter.close; it befalls is_closed '
            "(s.toml, line 26)"
        ),
    ),
    "an effect that the device cannot have": (
        REQUEST + '[[faults]]\ndevice = "ring"\neffect = "resets"\nat_s = 3\n',
        'faults[0].effect = "resets": cannot befall the ring, nor any of its commands (s.toml, line 25)',
    ),
    "an effect of a command without one": (
        REQUEST + '[[faults]]\ndevice = "fast_shutter"\neffect = "hangs"\ncall = 1\n',
        (
            'faults[0].effect = "hangs": befalls a command of fast_shutter: give command, one of open, '
            "close, is_closed "
            "(s.toml, line 25)"
        ),
    ),
    "an effect of a whole device on a command": (
        REQUEST + FAULT.replace("hangs", "resets") + "at_s = 1\n",
        'faults[0].effect = "resets": befalls the fast_shutter as a whole: leave command out (s.toml, line 26)',
    ),
    "a call of no command": (
        REQUEST + '[[faults]]\ndevice = "ring"\neffect = "drifts"\ncall = 3\n',
        (
            'faults[0].call = 3: needs a command; "drifts" befalls the ring as a whole: give at_s or event '
            "(s.toml, line 26)"
        ),
    ),
    "a fault that never begins": (
        REQUEST + FAULT,
        "faults[0]: never begins: give one of call, at_s, event (s.toml, line 23)",
    ),
    "a fault that begins twice": (
        REQUEST + FAULT + "call = 1\nat_s = 3\n",
        "faults[0].at_s = 3: cannot be asked together with call: give one of call, at_s, event (s.toml, line 28)",
    ),
    "a count without an event": (
        REQUEST + FAULT + "call = 1\ncount = 2\n",
        "faults[0].count = 2: says nothing without an event: give event too (s.toml, line 28)",
    ),
    "a delay after nothing": (
        REQUEST + FAULT + "call = 1\nafter_s = 2\n",
        "faults[0].after_s = 2: says nothing without an event: give event too (s.toml, line 28)",
    ),
    "a call of number 0": (REQUEST + FAULT + "call = 0\n", "faults[0].call = 0: must be 1 to 10,000,000"),
    "a negative time": (
        REQUEST + FAULT + "at_s = -1\n",
        "faults[0].at_s = -1: must be 0 to 604,800 s (s.toml, line 27)",
    ),
    "a length of no time": (
        REQUEST + FAULT + "call = 1\nlasts_s = 0\n",
        "faults[0].lasts_s = 0: must be greater than 0 s and at most 604,800 s (s.toml, line 28)",
    ),
    "a time beyond a week": (REQUEST + FAULT + "at_s = 1e6\n", "faults[0].at_s = 1E+6: must be 0 to 604,800 s"),
    "a time that is no number": (REQUEST + FAULT + "at_s = nan\n", "faults[0].at_s = NaN: must be a finite number"),
    "a time that is endless": (REQUEST + FAULT + "at_s = inf\n", "faults[0].at_s = Infinity: must be a finite number"),
    "a delay of what is not delayed": (
        REQUEST + FAULT + "call = 1\ndelay_s = 3\n",
        'faults[0].delay_s = 3: is for effect = "delayed" only (s.toml, line 28)',
    ),
    "two durations": (
        REQUEST + FAULT + 'call = 1\nlasts = "once"\nlasts_s = 3\n',
        "faults[0].lasts_s = 3: cannot be asked together with lasts: give one of the two (s.toml, line 29)",
    ),
    "an unknown duration": (
        REQUEST + FAULT + 'call = 1\nlasts = "forever"\n',
        'faults[0].lasts = "forever": is no duration; did you mean "for ever"? allowed are once, for ever',
    ),
    "an unknown event": (
        REQUEST + FAULT + 'event = "exposing"\n',
        'faults[0].event = "exposing": is no event or state; did you mean "wedge.EXPOSING"? allowed are IDLE, ',
    ),
    "an unknown deed": (
        REQUEST + HOLD.replace("hold", "pause"),
        (
            'operator[0].does = "pause": is no deed; allowed are abort, hold, resume, skip, acknowledge, '
            "confirm, reject "
            "(s.toml, line 24)"
        ),
    ),
    "a deed that is missing": (
        REQUEST + "[[operator]]\nat_s = 3\n",
        "operator[0].does: is required: what the operator does (s.toml, line 23)",
    ),
    "an unknown happening": (REQUEST + LOST.replace("lost", "los"), 'happens[0].what = "beam los": is no happening; '),
    "a fault of what is not there": (
        REQUEST + FAULT.replace("fast", "safety") + 'call = 1\n[beamline]\nwithout = ["safety_shutter"]\n',
        'faults[0].device = "safety_shutter": is not there: beamline.without names it (s.toml, line 24)',
    ),
    "a beam that no ring loses": (
        REQUEST + LOST + '[beamline]\nwithout = ["ring"]\n',
        'happens[0].what = "beam lost": nothing hears of it: beamline.without names ring (s.toml, line 24)',
    ),
    "an answer of nobody": (
        REQUEST + HOLD.replace("hold", "confirm") + '[beamline]\nwithout = ["person"]\n',
        'operator[0].does = "confirm": nobody is asked: beamline.without names person (s.toml, line 24)',
    ),
    "answers of nobody": (
        REQUEST + '[person]\nmount_by_hand = { says = "no" }\n[beamline]\nwithout = ["person"]\n',
        "person: nobody is asked: beamline.without names person (s.toml, line 23)",
    ),
    "an unknown question": (
        REQUEST + '[person]\nvalidate_centering = { says = "no" }\n',
        (
            'person.validate_centering: unknown question; did you mean "validate_centring"? known are mount_by_hand, '
            "centre_by_hand, validate_centring (s.toml, line 24)"
        ),
    ),
    "an unknown answer": (
        REQUEST + '[person]\nmount_by_hand = { says = "maybe" }\n',
        'person.mount_by_hand.says = "maybe": is no answer; allowed are yes, no, never (s.toml, line 24)',
    ),
    "a delay of what never comes": (
        REQUEST + '[person]\nmount_by_hand = { says = "never", delay_s = 3 }\n',
        'person.mount_by_hand.delay_s = 3: says nothing where the answer is "never" (s.toml, line 24)',
    ),
    "a range the wrong way round": (
        REQUEST + '[person]\nmount_by_hand = { says = "no", delay_s = [9, 5] }\n',
        "person.mount_by_hand.delay_s = a list of 2: begins with the larger: write [5, 9] (s.toml, line 24)",
    ),
    "an unknown role": (
        REQUEST + '[beamline]\nwithout = ["dioddes", "x"]\n',
        'beamline.without = a list of 2: holds "dioddes", which is no device; did you mean "diodes"? allowed are ',
    ),
    "a device without settings": (REQUEST + "[beamline.person]\n", "beamline.person: unknown key or device; "),
    "an unknown setting": (
        REQUEST + "[beamline.cryo_stream]\ntemperature_c = -173\n",
        (
            "beamline.cryo_stream.temperature_c: unknown setting of cryo_stream; did you mean "
            '"temperature_k"? known are '
            "temperature_k, noise_k (s.toml, line 24)"
        ),
    ),
    "a setting of another type": (
        REQUEST + '[beamline.cryo_stream]\ntemperature_k = "cold"\n',
        'beamline.cryo_stream.temperature_k = "cold": must be a number, not text: 0 to 1,000 K (s.toml, line 24)',
    ),
    "a truth that is a number": (
        REQUEST + "[beamline.interlock]\nsearched = 1\n",
        "beamline.interlock.searched = 1: must be true or false, not a number (s.toml, line 24)",
    ),
    "a setting of what is not there": (
        REQUEST + '[beamline]\nwithout = ["cryo_stream"]\n[beamline.cryo_stream]\ntemperature_k = 90\n',
        "beamline.cryo_stream: cannot be set: the beamline is without its cryo_stream (s.toml, line 25)",
    ),
    "a pin that is no place": (
        REQUEST + '[beamline]\nbare_pins = ["1:6", "6:1"]\n',
        (
            "beamline.bare_pins = a list of 2: holds 6:1, which is no place: the dewar has 5 pucks of 16 pins, counted "
            "from 1 (s.toml, line 24)"
        ),
    ),
    "a pin of a smaller dewar": (
        REQUEST + '[beamline]\nbare_pins = ["3:1"]\n[beamline.sample_changer]\npucks = 2\n',
        "beamline.bare_pins = a list of 1: holds 3:1, which is no place: the dewar has 2 pucks of 16 pins",
    ),
    "a pin that is nothing": (
        REQUEST + '[beamline]\nbare_pins = ["A3"]\n',
        'beamline.bare_pins = a list of 1: holds "A3", which is no place "puck:pin" such as "1:5", both counted from 1',
    ),
    "a pin of no changer": (
        REQUEST.replace('location = "1:5"', "mounted = true")
        + '[beamline]\nwithout = ["sample_changer"]\nbare_pins = ["1:1"]\n',
        "beamline.bare_pins = a list of 1: are pins of a sample changer, and the beamline is without one",
    ),
    "an unknown outcome": (
        REQUEST + '[expect]\noutcome = "ok"\n',
        'expect.outcome = "ok": is no outcome; allowed are done, skipped, failed, aborted (s.toml, line 24)',
    ),
    "an end in between": (
        REQUEST + '[expect]\nends_in = "CLOSING"\n',
        'expect.ends_in = "CLOSING": is no state that a run ends in; allowed are IDLE, FAULT (s.toml, line 24)',
    ),
    "a visit to a wedge's state": (
        REQUEST + '[expect]\nvisits = ["wedge.ARMING"]\n',
        'expect.visits = a list of 1: holds "wedge.ARMING", which is no state of a collection; ',
    ),
    "a strike that is no count": (REQUEST + "[strike]\nabort_at = 0\n", "strike.abort_at = 0: must be 1 to 10,000,000"),
    # -- what contradicts itself
    "done in FAULT": (
        REQUEST + '[expect]\noutcome = "done"\nends_in = "FAULT"\n' + FAULT + "call = 1\n",
        'expect.ends_in = "FAULT": contradicts outcome = "done": what ends in FAULT has failed (s.toml, line 25)',
    ),
    "a success that failed": (
        REQUEST + '[expect]\noutcome = "done"\nfailure = "x"\n',
        'expect.failure = "x": contradicts outcome = "done": nothing went wrong then (s.toml, line 25)',
    ),
    "a success that is aborted at once": (
        REQUEST + '[[operator]]\ndoes = "abort"\nevent = "run_started"\n[expect]\noutcome = "done"\n',
        'operator[0].does = "abort": contradicts expect.outcome = "done" (s.toml, line 24)',
    ),
    "a success that is aborted before it has exposed all": (
        REQUEST + '[[operator]]\ndoes = "abort"\nat_s = 0.999\n[expect]\noutcome = "done"\n',
        'operator[0].does = "abort": contradicts expect.outcome = "done" (s.toml, line 24)',
    ),
    "the same fault twice": (
        REQUEST + FAULT + "call = 1\n" + FAULT + "call = 2\n" + FAULT + "call = 1\n",
        "faults[2]: is the same as faults[0] (s.toml, line 33)",
    ),
    "an abort of nobody": (
        REQUEST + '[expect]\noutcome = "aborted"\n',
        (
            'expect.outcome = "aborted": nobody aborts: give an [[operator]] who does, or another outcome '
            "(s.toml, line 24)"
        ),
    ),
    "a skip of nobody": (
        REQUEST + '[expect]\noutcome = "skipped"\n',
        'expect.outcome = "skipped": nobody skips: give an [[operator]] who does, or another outcome (s.toml, line 24)',
    ),
    "more images than there are": (
        REQUEST + "[expect]\nimages = 21\n",
        "expect.images = 21: is more than is asked for: 20 images (s.toml, line 24)",
    ),
    "a success with too few images": (
        REQUEST + '[expect]\noutcome = "done"\nimages = 19\n',
        'expect.images = 19: contradicts outcome = "done": 20 images are asked for (s.toml, line 25)',
    ),
    "a hold of nobody": (
        REQUEST + '[expect]\nvisits = ["HOLDING"]\n',
        'expect.visits = "HOLDING": nobody holds: give an [[operator]] who does (s.toml, line 24)',
    ),
    "a beam that stays": (
        REQUEST + '[expect]\nvisits = ["HOLDING_FOR_BEAM"]\n',
        (
            'expect.visits = "HOLDING_FOR_BEAM": the beam is not lost: give [[happens]] with what = "beam lost", or a '
            "fault of the ring (s.toml, line 24)"
        ),
    ),
    "a FAULT of nothing": (
        REQUEST + '[expect]\nends_in = "FAULT"\n',
        'expect.ends_in = "FAULT": nothing fails: give [[faults]], or settings of a device that make it too slow',
    ),
    "a visit to FAULT and done": (
        REQUEST + '[expect]\noutcome = "done"\nvisits = ["FAULT"]\n' + FAULT + "call = 1\n",
        'expect.visits = "FAULT": contradicts outcome = "done": what comes through FAULT has failed (s.toml, line 25)',
    ),
    "abandoned and safe": (
        REQUEST + '[expect]\nends_in = "IDLE"\nvisits = ["ABANDONED"]\n',
        'expect.visits = "ABANDONED": contradicts ends_in = "IDLE" (s.toml, line 25)',
    ),
    "a way that no table has": (
        REQUEST + '[expect]\nvisits = ["CLOSING", "OSCILLATING"]\n',
        'expect.visits = "OSCILLATING": no collection comes from CLOSING to OSCILLATING: see the collection table',
    ),
    "a hold for ever": (
        REQUEST + HOLD,
        'operator[0].does = "hold": holds for ever: nobody does one of resume, skip, abort after it (s.toml, line 24)',
    ),
    "a hold that was resumed before": (
        REQUEST + HOLD + '[[operator]]\ndoes = "resume"\nat_s = 39\n',
        'operator[0].does = "hold": holds for ever: nobody does one of resume, skip, abort after it (s.toml, line 24)',
    ),
    "both shutters found open": (
        REQUEST + "[beamline.safety_shutter]\nfound_open = true\n[beamline.fast_shutter]\nfound_open = true\n",
        "beamline.fast_shutter.found_open: must be false: no other shutter is closed, and the beam is on (s.toml, line",
    ),
    "an ending that nothing has": (
        REQUEST + '[undisturbed]\noutcome = "fine"\n',
        'undisturbed.outcome = "fine": is no outcome; did you mean "failed"? allowed are done, skipped, failed,',
    ),
    "broken TOML": ("seed = = 3\n", "TOML: cannot be read: Invalid value (s.toml, line 1, column 8)"),
}


@pytest.mark.parametrize("text, sentence", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_told_in_one_sentence_with_its_place(text: str, sentence: str) -> None:
    told = refusals("", request=text)
    assert [line for line in told if line.startswith(sentence)], told
    assert all("\n" not in line and "s.toml" in line for line in told)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    told = refusals(FAULT + HOLD.replace("40", "-40") + LOST.replace("beam", "bean") + "[expect]\nimages = -1\n")
    assert [line.partition(" ")[0].rstrip(":") for line in told] == [
        "faults[0]",
        "operator[0].at_s",
        "happens[0].what",
        "expect.images",
    ]


def test_the_third_fault_is_told_at_its_own_line() -> None:
    good = FAULT + "call = 1\n"
    assert refusals(good + good + good.replace("hangs", "x"))[0].endswith("(s.toml, line 36)")


@pytest.mark.parametrize(
    "text",
    [
        HOLD + '[[operator]]\ndoes = "skip"\nevent = "HOLDING"\n',
        HOLD + '[[operator]]\ndoes = "resume"\nat_s = 41\n',
        HOLD + "[strike]\nabort_at = 50\n",
        '[expect]\nvisits = ["OSCILLATING", "HOLDING_FOR_BEAM", "OSCILLATING"]\n' + LOST,
        '[[operator]]\ndoes = "acknowledge"\nevent = "FAULT"\n',
        '[[operator]]\ndoes = "abort"\nevent = "run_ended"\n[expect]\noutcome = "done"\n',
        '[[operator]]\ndoes = "abort"\nat_s = 1.0\n[expect]\noutcome = "done"\n',
        f"{FAULT}call = 1\n{FAULT}call = 1\n[strike]\nschedule = 3\n",
    ],
)
def test_what_may_well_be_is_not_refused(text: str) -> None:
    parse_scenario(REQUEST + text)


ABORTED = '[[operator]]\ndoes = "abort"\nat_s = 0.5\n[expect]\noutcome = "done"\n'


def test_an_abort_within_images_that_may_be_there_already_is_not_refused() -> None:
    parse_scenario(REQUEST.replace('prefix = "p"', 'prefix = "p"\nskip_existing = true') + ABORTED)


def test_an_abort_of_a_list_of_which_one_may_be_skipped_is_not_refused() -> None:
    one = REQUEST.replace('summary = "A scenario."\n', "").replace("[request]", "").replace("[request.", "[requests.")
    other = one.replace("1:5", "1:6").replace('prefix = "p"', 'prefix = "q"')
    two = f"[[requests]]\n{one}[[requests]]\n{other}"
    assert refusals(ABORTED.replace("0.5", "1.5"), request=two) == [
        'operator[0].does = "abort": contradicts expect.outcome = "done" (s.toml, line 46)'
    ]
    parse_scenario(two + '[[operator]]\ndoes = "skip"\nevent = "MOUNTING"\n' + ABORTED.replace("0.5", "1.5"))


TWICE = "faults = [{device = 'fast_shutter', command = 'close', effect = 'hangs', call = 1}]"


def test_a_fault_that_is_added_may_be_in_the_scenario_already() -> None:
    """As a sweep adds it: its replay is not refused."""
    assert len(parse_scenario(f"{REQUEST}{FAULT}call = 1\n", additions=[TWICE, TWICE]).faults) == 3
    strike = "strike = {schedule = 3}"
    assert refusals(f"{FAULT}call = 1\n" * 2, [TWICE, strike]) == [
        "faults[1]: is the same as faults[0] (s.toml, line 28)"
    ]
