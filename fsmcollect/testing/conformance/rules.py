"""Every part of a role's contract that the kit can find broken: its stable name, what is allowed, what to do.

Owns the words. The contract itself is the docstrings of `fsmcollect.beamline.roles`. In a name, ``{command}`` is the
method, with hyphens, and ``{other}`` the one that was under way.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Rule:
    """One part of the contract.

    Attributes
    ----------
    name : str
        With ``{command}`` and ``{other}``.
    allowed, advice : str
        Whole sentences, with the same marks.
    breaks : bool
        A device that breaks it cannot be examined further with this command.
    """

    name: str
    allowed: str
    advice: str
    breaks: bool = False

    def named(self, command: str, other: str) -> str:
        return self.name.format(command=command.replace("_", "-"), other=other.replace("_", "-"))

    def in_words(self, sentence: str, command: str, other: str) -> str:
        return sentence.format(command=command, other=other)


# -- what is there ---------------------------------------------------------------------------------------------------

HAS_ALL_COMMANDS = Rule(
    "has-all-commands",
    "The device has every method of its role.",
    "Add the method; where the hardware has nothing of the kind, leave the whole device out of the beamline.",
)
COMMANDS_ARE_ASYNC = Rule(
    "commands-are-async",
    "What is `async def` in the role can be awaited, what is not is a plain method or property.",
    "Write `async def`, and await inside it whatever waits.",
)
TAKES_ITS_ARGUMENTS = Rule(
    "commands-take-their-arguments",
    "A method can be called with the arguments that its role names.",
    "Give the method the role's parameters, by the role's names; further ones need defaults.",
)
HAS_ALL_PROPERTIES = Rule(
    "has-all-properties",
    "The device has every property of its role.",
    "Add the property.",
)
SANE = Rule(
    "sane-{command}",
    "{command} gives a value of the role's type, finite, in the unit that the name says, and one that can be.",
    "Convert what the hardware says to the role's type and unit; where it says nonsense, raise DeviceError.",
    breaks=True,
)
LIMITS_NAME_EVERY_AXIS = Rule(
    "limits-name-every-axis",
    "limits and read_positions name the same axes: an axis that is missing in limits does not exist.",
    "Give every axis that can be read its limits, and read every axis that has limits.",
    breaks=True,
)
NEVER_WAITS = Rule(
    "{command}-never-waits",
    "{command} gives what was last heard, at once.",
    "Keep the number up to date elsewhere, and only hand it out here.",
)

# -- what is read -----------------------------------------------------------------------------------------------------

ANSWERS = Rule(
    "{command}-answers",
    "{command} asks the device and answers in time, also while another command is under way.",
    "Let it wait for nothing but the device's answer: no lock that a command holds.",
    breaks=True,
)
NO_MEMORY = Rule(
    "{command}-is-no-memory",
    "{command} asks the device and never answers from memory.",
    "Read the device's own read-back, and not what it was last told (not the set point).",
    breaks=True,
)

# -- what it does -----------------------------------------------------------------------------------------------------

WORKS = Rule(
    "{command}-works",
    "{command} does what its role says, and comes back.",
    "See what the device said. Where it takes long, give `limit_s`; where the hardware needs something first, let "
    "`make` see to that.",
    breaks=True,
)
ONLY_DEVICE_ERRORS = Rule(
    "{command}-raises-only-device-errors",
    "A device that cannot do what it was told raises DeviceError; anything else that it raises is taken for a bug.",
    "Catch what the library raises (time-outs and groups of errors too) and raise DeviceError(role, message) from it.",
)
ERRORS_NAME_THE_ROLE = Rule(
    "errors-name-the-role",
    "DeviceError.device is the role as it is named on `Beamline`.",
    "Raise DeviceError with the role's name first.",
)
AFTER_READ_BACK = Rule(
    "{command}-returns-after-read-back",
    "{command} returns once READ-BACK says that it is done, never when the command was accepted.",
    "Wait in {command} until the device's read-back agrees. If it comes to rest a little off, give `tolerance`.",
    breaks=True,
)
BLOCKS_NOBODY = Rule(
    "{command}-blocks-nobody",
    "While {command} waits, everything else goes on: an abort has to be heard.",
    "Call what blocks with trio.to_thread.run_sync(..., abandon_on_cancel=True), or use an async library.",
    breaks=True,
)

# -- what makes safe --------------------------------------------------------------------------------------------------

IDEMPOTENT = Rule(
    "{command}-is-idempotent",
    "{command} makes safe: it may be called again and again, whatever state the device is in.",
    "Where the device is safe already, send the command all the same and return once read-back agrees; raise nothing.",
    breaks=True,
)
LEAVES_AT_ONCE = Rule(
    "{command}-leaves-at-once",
    "{command} sends its command before its first checkpoint, so that it leaves even when its caller is cancelled.",
    "Send first, without await, and wait for nothing (no lock, no answer, no checkpoint) before that.",
)
WHILE = Rule(
    "{command}-while-{other}",
    "{command} makes safe: it may be called while {other} is under way, and the device is safe when it returns.",
    "Let {command} take no lock that {other} holds, and let the device drop what {other} has told it. Let {other} send "
    "its command before its first checkpoint too, or look whether it was overtaken before it sends.",
)
MAY_BE_JOINED = Rule(
    "{command}-may-be-joined",
    "{command} makes safe: it may be called while it is under way.",
    "Let the second caller wait for the same read-back as the first.",
)
TELLS_WHEN_OVERTAKEN = Rule(
    "{command}-tells-when-overtaken",
    "When {other} takes away what {command} waits for, {command} raises DeviceError and does not wait on.",
    "Let {command} look whether the device still does what it was told, not only whether it has arrived.",
)
SECOND = Rule(
    "second-{command}",
    "Of two {command} at once each ends: it returns with read-back as it was told, or raises DeviceError.",
    "Refuse the second, or let it replace the first and tell the first so.",
)

# -- cancelling -------------------------------------------------------------------------------------------------------

CAN_BE_CANCELLED = Rule(
    "{command}-can-be-cancelled",
    "{command} can be cancelled at every checkpoint and is gone promptly.",
    "Do not shield it; where it calls a blocking library in a thread, let the thread be abandoned "
    "(abandon_on_cancel=True).",
)
LETS_CANCELLED_THROUGH = Rule(
    "{command}-lets-cancelled-through",
    "trio.Cancelled that is raised in {command} leaves it.",
    "Never catch BaseException or trio.Cancelled without raising it again.",
)
CANCELLED_CLEANLY = Rule(
    "{command}-cancelled-raises-nothing-else",
    "A cancelled {command} raises trio.Cancelled and nothing else.",
    "Look at its `finally` and `except`: what they raise takes the place of Cancelled.",
)
CANCELLED_THEN_SAFE = Rule(
    "{command}-cancelled-can-be-made-safe",
    "After {command} was cancelled, {other} still makes the device safe.",
    "Release locks and forget half-done work in `finally`.",
)
CANCELLED_THEN_REPEATED = Rule(
    "{command}-cancelled-can-be-repeated",
    "After {command} was cancelled, and the device made safe, it can be told again.",
    "Release locks and forget half-done work in `finally`.",
)
LEAVES_NO_TASK = Rule(
    "{command}-cancelled-leaves-no-task",
    "A cancelled {command} leaves nothing running that would go on to command the device.",
    "Keep its tasks in a nursery inside the method, so that they end with it.",
)

# -- what must be refused ---------------------------------------------------------------------------------------------

REFUSES = Rule(
    "refuses-{command}",
    "What cannot be done is refused with DeviceError.",
    "Check it before anything moves, and raise DeviceError.",
)

# -- waiting ----------------------------------------------------------------------------------------------------------

RETURNS_AT_ONCE = Rule(
    "{command}-returns-at-once",
    "{command} returns at once where there is nothing to wait for.",
    "Look at the device first, then wait for a change.",
)
WAITS = Rule(
    "{command}-waits",
    "{command} returns only when what it waits for has come.",
    "Wait in a loop that looks at the device again after each wake-up.",
)
NOTICES = Rule(
    "{command}-notices",
    "{command} returns when what it waits for comes, whoever brings it about.",
    "Follow the device (subscribe, or ask often), and not what this adapter was told.",
)

THE_HUTCH_CLOSES_IT = Rule(
    "the-hutch-closes-it",
    "When the hutch is opened, the interlock closes the safety shutter, and read-back says so.",
    "Read the shutter itself; see that the interlock acts without this adapter.",
)

# -- of one role ------------------------------------------------------------------------------------------------------

READS_WHAT_WAS_ASKED = Rule(
    "read-out-gives-what-was-asked",
    "read_out gives a FrameBlock that begins at `first`, with one recorded angle for each of `count` images.",
    "Number images from 0 within the acquisition; record the angle at the start of each.",
    breaks=True,
)
READ_OUT_ENDS = Rule(
    "read-out-ends-when-disarmed",
    "read_out raises DeviceError once it is clear that not all images will come.",
    "Wake whoever waits in read_out when the detector is disarmed or fails.",
)
FRAMES_COUNT = Rule(
    "frames-complete-counts",
    "frames_complete is the number of images of the present acquisition whose exposure has ended.",
    "Count from 0 after every arm.",
)
KEEPS_FRAMES = Rule(
    "disarm-keeps-complete-frames",
    "Images that are complete stay readable after disarm, until the next arm.",
    "Throw away only what is not complete.",
)
GATE_OFF = Rule(
    "{command}-takes-the-gate-off",
    "After {command} the gate opens nothing and triggers nothing.",
    "Disarm the gate (position compare) in {command} before waiting for anything.",
)
BEGINS_AT_SPEED = Rule(
    "begin-sweep-returns-at-speed",
    "begin_sweep returns once omega has its speed, before the gate opens the shutter.",
    "Wait for the speed, not for the end of the motion.",
)
FINISHES_CLOSED = Rule(
    "finish-sweep-returns-closed",
    "finish_sweep returns once omega has passed the end and read-back says that the fast shutter is closed.",
    "Read the shutter back before returning.",
)
TAKES_ITS_TIME = Rule(
    "measure-takes-its-time",
    "measure counts for the exposure that it was asked for.",
    "Start a new exposure with each call, and do not hand out an earlier spectrum.",
)
PLAIN_ANSWER = Rule(
    "ask-gives-the-answer",
    "ask gives what the person said: True for done or yes, False for no.",
    "Return a plain bool.",
)

RULES = tuple(rule for rule in list(globals().values()) if isinstance(rule, Rule))
