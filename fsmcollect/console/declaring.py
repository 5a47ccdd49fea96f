"""The page of declared faults: which of them a collection survives, and how, as Markdown.

Owns words and layout. Owns no declaration (`sim.faults.declared`).
"""

from __future__ import annotations

from fsmcollect.sim.faults.declared import DECLARED, ENDINGS, NO_SHUTTER, TWO_LIES, Declared
from fsmcollect.sim.faults.values import MEANINGS

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
    kinds = "".join(f" ({kind.value})" for kind in sorted(row.kinds, key=lambda kind: kind.value))
    what = ", ".join(f"`{pattern}`" for pattern in row.commands.split()) if row.commands != "*" else "any command"
    cells = (
        what + kinds,
        ", ".join(sorted(effect.value for effect in row.effects)) or "any",
        lasts,
        ", ".join(sorted(row.states)) or "any state",
        "; or ".join(ENDINGS[ending] for ending in sorted(row.endings)),
        row.why,
        ", ".join(sorted(row.excuses)),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
