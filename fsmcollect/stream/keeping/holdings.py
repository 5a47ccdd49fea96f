"""What a stream has on disk, opened together: the directory, the journal, the registry and its live outputs."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.stream.keeping.journal import Journal
from fsmcollect.stream.keeping.registry import Registry
from fsmcollect.stream.keeping.workspace import JOURNAL_FILE, Workspace, can_open
from fsmcollect.stream.outputs import Output
from fsmcollect.stream.outputs.checksums import Checksums
from fsmcollect.stream.outputs.jsonl import JsonLines
from fsmcollect.stream.outputs.relion import Relion
from fsmcollect.stream.outputs.scipion import Scipion
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.values import Kind, RemoteFile, SetFacts

_OUTPUTS: Mapping[str, type[Scipion | Relion | JsonLines]] = {
    "scipion": Scipion,
    "relion": Relion,
    "jsonl": JsonLines,
}


@attrs.frozen(eq=False, kw_only=True)
class Holdings:
    """The directory of one stream, locked for this process until `close`. Synchronous: for a worker thread."""

    #: As they were asked for, with every output that the stream was begun with.
    settings: Settings
    workspace: Workspace
    journal: Journal
    registry: Registry
    outputs: Mapping[str, Path]

    @classmethod
    def open(cls, directory: Path, settings: Settings, *, resume: bool) -> Holdings:
        """Lock the directory and open what is in it, or make it.

        Raises
        ------
        InvalidRequest
            The directory cannot be used for this stream; nothing was made.
        StorageError
            The disk refused.
        """
        workspace = Workspace.open(directory, resume)
        try:
            if resume:
                journal = Journal.open(workspace.journal_path)
            else:
                journal = Journal.create(workspace.journal_path, settings.accession, settings.to_dict())
            try:
                if journal.accession != settings.accession:
                    allowed = f"the stream in {directory} is of EMPIAR-{journal.accession}"
                    raise InvalidRequest([Problem(field="ENTRY", value=settings.accession, allowed=allowed)])
                settings = settings.going_on_from(Settings.from_dict(journal.settings))
                outputs = [_OUTPUTS[name](workspace.directory) for name in settings.outputs]
                gains = functools.partial(_gains_of, journal)
                checksums = [Checksums(workspace.directory, gains)] if settings.checksum else []
                registry = Registry(workspace, journal, [*outputs, *checksums])
            except BaseException:
                journal.close()
                raise
        except BaseException:
            workspace.close()
            raise
        every: list[Output] = [*outputs, *checksums]
        return cls(
            settings=settings,
            workspace=workspace,
            journal=journal,
            registry=registry,
            outputs={output.name: output.path for output in every},
        )

    def keep_settings(self) -> None:
        """A resume goes on with these settings: the entry has been found to fit them."""
        self.journal.keep_settings(self.settings.to_dict())

    def close(self) -> None:
        """Let go of the journal and the lock."""
        self.journal.close()
        self.workspace.close()

    def unsettled(self, files: Iterable[RemoteFile]) -> list[RemoteFile]:
        """Those of the files that are neither registered nor set aside."""
        self.registry.recover()
        journal = self.journal
        if not (self.registry.registered or self.registry.rejected or self.registry.gains):
            return list(files)
        return [file for file in files if not journal.is_known(file.path)]

    def facts(self, settings: Settings, title: str, pixel_size_a: float | None) -> SetFacts:
        """What holds for the whole set, now that its gain references are here."""
        return SetFacts(
            accession=settings.accession,
            title=title,
            pixel_size_a=pixel_size_a,
            optics=settings.optics,
            gains=tuple(gain.file for gain in self.journal.gains() if gain.kind is Kind.GAIN),
        )


def _gains_of(journal: Journal) -> list[tuple[str, str | None]]:
    return [(gain.file, gain.sha256) for gain in journal.gains()]


def kept_settings(directory: Path) -> Settings:
    """What the stream in a directory was asked for.

    Raises
    ------
    InvalidRequest
        The directory holds no stream that can be gone on with.
    """
    path = directory / JOURNAL_FILE
    if not path.is_file():
        problem = Problem(field="--resume", value=str(directory), allowed="holds no stream to go on with")
        raise InvalidRequest([problem])
    can_open(directory, True)
    with Journal.open(path) as journal:
        return Settings.from_dict(journal.settings)
