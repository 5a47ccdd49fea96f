"""Which role a device has, and whether it has everything that the role names.

Owns what can be known without calling anything. The Protocols of `fsmcollect.beamline.roles` are the only list of
methods: what is added there is looked for here.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping

import attrs

from fsmcollect.beamline import roles
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.rules import Rule


@attrs.frozen(kw_only=True)
class Member:
    """What a role names: a method, or (without parameters) a property."""

    name: str
    is_async: bool
    parameters: tuple[inspect.Parameter, ...] | None


@attrs.frozen(kw_only=True)
class Lack:
    """A part of the role that the device does not have."""

    rule: Rule
    command: str
    seen: str


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _members(role: type) -> Iterator[Member]:
    for name, value in vars(role).items():
        if name.startswith("_"):
            continue
        if isinstance(value, property):
            yield Member(name=name, is_async=False, parameters=None)
        elif inspect.isfunction(value):
            parameters = tuple(inspect.signature(value).parameters.values())[1:]
            yield Member(name=name, is_async=inspect.iscoroutinefunction(value), parameters=parameters)


#: Role as it is named on `Beamline`, to what it has.
ROLES: Mapping[str, tuple[Member, ...]] = {
    _snake(name): tuple(_members(value))
    for name, value in vars(roles).items()
    if inspect.isclass(value) and value.__module__ == roles.__name__
}


def properties_of(role: str) -> tuple[str, ...]:
    """The names of what a role says of itself."""
    return tuple(member.name for member in ROLES[role] if member.parameters is None)


def role_of(device: object, make: Callable[[], object], role: str | None) -> str:
    """The role that a device has.

    Raises
    ------
    ValueError
        It cannot be told, or there is no such role.
    """
    if role is not None:
        if role not in ROLES:
            raise ValueError(f"role = {role!r}: no such role; there are {', '.join(ROLES)}")
        return role
    named = _named(make)
    fitting = [name for name, members in ROLES.items() if all(_has(device, m.name) for m in members)]
    if named is not None and (named in fitting or not fitting):
        return named
    # What has more than another role asks for has that role only by the way.
    fullest = [name for name in fitting if not any(_has_less(name, other) for other in fitting)]
    if len(fullest) == 1:
        return fullest[0]
    kind = type(device).__name__
    if fullest:
        raise ValueError(
            f"{kind} may be {' or '.join(fullest)}: say which with role={fullest[0]!r}, or in the name of make"
        )
    raise ValueError(f"{kind} has what no role asks for: say with role= which of {', '.join(ROLES)} it is meant to be")


def lacks(device: object, role: str) -> Iterator[Lack]:
    """What the device does not have of its role."""
    for member in ROLES[role]:
        if member.parameters is None:
            yield from _property_lacks(device, member)
        else:
            yield from _method_lacks(device, member, member.parameters)


def _property_lacks(device: object, member: Member) -> Iterator[Lack]:
    if not _has(device, member.name):
        yield Lack(rule=rules.HAS_ALL_PROPERTIES, command=member.name, seen=f"it has no {member.name}")
    elif inspect.isroutine(inspect.getattr_static(device, member.name, None)):
        seen = f"{member.name} is a method: it must be a property or an attribute"
        yield Lack(rule=rules.HAS_ALL_PROPERTIES, command=member.name, seen=seen)


def _has(device: object, name: str) -> bool:
    """Without asking a property, where it is one; an adapter may hand on what another device has."""
    missing = object()
    return inspect.getattr_static(device, name, missing) is not missing or hasattr(device, name)


def _method_lacks(device: object, member: Member, parameters: tuple[inspect.Parameter, ...]) -> Iterator[Lack]:
    method = getattr(device, member.name, None)
    if not callable(method):
        yield Lack(rule=rules.HAS_ALL_COMMANDS, command=member.name, seen=f"it has no method {member.name}")
        return
    if member.is_async and _is_plain(method):
        seen = f"{member.name} is a plain method"
        yield Lack(rule=rules.COMMANDS_ARE_ASYNC, command=member.name, seen=seen)
    positional = [p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    keywords = {p.name: p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    try:
        inspect.signature(method).bind(*positional, **keywords)
    except TypeError as error:
        called = ", ".join([*positional, *(f"{name}=..." for name in keywords)])
        seen = f"it cannot be called as {member.name}({called}): {error}"
        yield Lack(rule=rules.TAKES_ITS_ARGUMENTS, command=member.name, seen=seen)
    except ValueError:
        return  # written in C: nothing is known about its parameters


def _is_plain(method: Callable[..., object]) -> bool:
    """A function that surely gives nothing to await; what only wraps another is as good as that."""
    inner = inspect.unwrap(method)
    if inspect.iscoroutinefunction(inner) or not (inspect.isfunction(inner) or inspect.ismethod(inner)):
        return False
    returns = str(inspect.signature(inner).return_annotation)
    return "Awaitable" not in returns and "Coroutine" not in returns


def _named(make: Callable[[], object]) -> str | None:
    """The role in a factory's name: the longest that is in it."""
    while isinstance(make, functools.partial):
        make = make.func
    name = _snake(getattr(make, "__name__", ""))
    return max((role for role in ROLES if role in name), key=len, default=None)


def _has_less(role: str, other: str) -> bool:
    return {member.name for member in ROLES[role]} < {member.name for member in ROLES[other]}
