"""The page of declared faults: which of them a collection survives, and how, as Markdown.

Owns words and layout. Owns no declaration (`sim.faults.declared`).
"""

from __future__ import annotations

from fsmcollect.sim.faults.commands import Kind
from fsmcollect.sim.faults.declared import DECLARED, ENDINGS, NO_SHUTTER, TWO_LIES, Declared
from fsmcollect.sim.faults.values import MEANINGS, Effect

#: What befalls a device as a whole, as the table of effects has them.
_WHOLE = tuple(effect for effect in MEANINGS if effect in (Effect.DRIFTS, Effect.RESETS))
#: What commands of each kind do.
_DOES = {
    Kind.READ: "asks the device",
    Kind.ACT: "changes something",
    Kind.MAKE_SAFE: "makes safe",
    Kind.WATCH: "waits for what happens by itself",
    Kind.ASK: "asks a person",
}
#: As the pages of the tables begin, so that one that is not made any more is found.
_MARK = "<!-- Made by `fsmcollect diagrams`"


def faults_page() -> str:
    """The whole page."""
    lines = [
        f"{_MARK} from fsmcollect.sim.faults.declared: change the declaration there, not this page. -->",
        "",
        "# What a collection survives, and how",
        "",
        "A fault is a trigger (a time, an event of the run, the k-th call of a device's command), an effect, and how",
        "long it lasts (one call, a while, for ever). Every sweep judges every run by the table below: of several rows",
        "the first that fits holds; a fault that lasts a while ends as one of once and for ever, or in between.",
        "Whatever the row says, no rule of physics may be violated, but for those that the fault itself breaks until",
        "it is noticed (excused).",
        "",
        "| effect | what it does |",
        "| --- | --- |",
        *(f"| {effect.value} | {meaning} |" for effect, meaning in MEANINGS.items()),
        "",
        f"What {' or '.join(effect.value for effect in _WHOLE)} is a device as a whole; every other effect befalls one",
        "of its commands. A `*` in a name stands for anything.",
        "",
        "| what fails | effect | lasts | struck in | the run ends as | because | excused |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *map(_row, DECLARED),
        "",
        "Several faults end as the worst of them may, or better. Two of one device may add up to one ending worse, and",
        "to FAULT where they spoil a safing step and its repetition. A device that lies twice, about what it has done",
        "and about how it stands, can break these rules besides its own rest when all is over, and nobody can know:",
        "",
        *(f"- `{device}`: {', '.join(sorted(rules))}" for device, rules in TWO_LIES.items()),
        "",
        "Where both shutters fail for longer than one call, the beam cannot be turned off, and these are excused:",
        f"{', '.join(sorted(NO_SHUTTER))}.",
    ]
    return "\n".join(lines) + "\n"


def _row(row: Declared) -> str:
    lasts = {None: "any", True: "for ever", False: "once"}[row.for_ever]
    cells = (
        _what(row),
        ", ".join(sorted(effect.value for effect in row.effects)) or "any",
        lasts,
        ", ".join(sorted(row.states)) or "any state",
        "; or ".join(ENDINGS[ending] for ending in sorted(row.endings)),
        row.why,
        ", ".join(sorted(row.excuses)),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _what(row: Declared) -> str:
    if row.commands != "*":
        patterns = row.commands.split()
        named = ", ".join(f"`{pattern}`" for pattern in patterns if not pattern.startswith("!"))
        left_out = ", ".join(f"`{pattern[1:]}`" for pattern in patterns if pattern.startswith("!"))
        return f"{named}; not {left_out}" if left_out else named
    if row.effects and row.effects <= set(_WHOLE):
        return "any device"
    does = " or ".join(_DOES[kind] for kind in _DOES if kind in row.kinds)
    return f"any command that {does}" if does else "any command"
