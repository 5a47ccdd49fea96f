"""How an adapter is broken on purpose: it wraps a simulated device, and hands on what it does not break."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs


@attrs.frozen
class Case:
    """A broken adapter, what it must be told of, and what the kit is told beyond the usual."""

    role: str
    kind: type[Wrapped]
    names: frozenset[str]
    wishes: Mapping[str, object]


CASES: list[Case] = []


def broken(role: str, *names: str, **wishes: object) -> Callable[[type[Wrapped]], type[Wrapped]]:
    """Declare the names, all and only, by which an adapter is to be caught."""

    def register(kind: type[Wrapped]) -> type[Wrapped]:
        CASES.append(Case(role, kind, frozenset(names), wishes))
        return kind

    return register


class Wrapped:
    """Hands everything on."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def __getattr__(self, name: str) -> Any:
        return getattr(self.device, name)
