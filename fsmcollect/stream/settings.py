"""What a person asks of a stream: frozen, checked at the door, and kept in the journal so that a resume knows it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.stream.stopping import Criteria
from fsmcollect.stream.values import Optics

API_URL = "https://www.ebi.ac.uk/empiar/api/entry/"
DATA_URL = "https://ftp.ebi.ac.uk/empiar/world_availability/"

#: The live outputs that can be asked for, by name.
OUTPUTS = ("scipion", "relion", "jsonl")
#: More connections than this to a public archive are rude, and its FTP front end resets them. Assumed.
MAX_JOBS = 32


@attrs.frozen(kw_only=True)
class Settings:
    """One stream.

    Attributes
    ----------
    accession : str
        ``10200``.
    api_url, data_url : str
        Without the accession. `data_url` may be ``ftp://``.
    ftp : bool
        Ask `data_url`'s host by FTP from the beginning; otherwise FTP is only the fallback.
    imagesets : tuple of str
        Numbers (from 1) or names; empty: every multiframe imageset.
    patterns, excludes : tuple of str
        Globs on movies' paths: which to take (empty: all), which to leave out.
    rate_bytes_per_s : float or None
        Of all transfers together.
    """

    accession: str
    api_url: str = API_URL
    data_url: str = DATA_URL
    ftp: bool = False
    imagesets: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    until: Criteria = attrs.field(factory=Criteria)
    jobs: int = 4
    outputs: tuple[str, ...] = OUTPUTS
    checksum: bool = True
    rate_bytes_per_s: float | None = None
    optics: Optics = attrs.field(factory=Optics)

    def __attrs_post_init__(self) -> None:
        problems = [
            *_url_problems("--api-url", self.api_url, ("http", "https")),
            *_url_problems("--data-url", self.data_url, ("http", "https", "ftp")),
        ]
        if not 1 <= self.jobs <= MAX_JOBS:
            problems.append(Problem(field="--jobs", value=str(self.jobs), allowed=f"must be 1 to {MAX_JOBS}"))
        problems += [
            Problem(field="--output", value=name, allowed=f"must be of {', '.join(OUTPUTS)}")
            for name in self.outputs
            if name not in OUTPUTS
        ]
        if self.rate_bytes_per_s is not None and not self.rate_bytes_per_s >= 1:
            problems.append(
                Problem(field="--rate", value=str(self.rate_bytes_per_s), allowed="must be at least 1 byte a second")
            )
        problems += [
            Problem(field=option, value=f"{value:g}", allowed="must be greater than 0")
            for option, value in (
                ("--voltage-kv", self.optics.voltage_kv),
                ("--spherical-aberration-mm", self.optics.spherical_aberration_mm),
                ("--amplitude-contrast", self.optics.amplitude_contrast),
                ("--dose-per-frame", self.optics.dose_per_frame_e_per_a2),
            )
            if value is not None and not 0 < value < float("inf")
        ]
        if problems:
            raise InvalidRequest(problems)

    def going_on_from(self, kept: Settings) -> Settings:
        """These settings for a stream that was begun with `kept` ones: an output that was begun goes on to its end.

        Checksums are had from the beginning or not at all: a list of some of them would look like one of all.
        """
        outputs = tuple(dict.fromkeys((*kept.outputs, *self.outputs)))
        return attrs.evolve(self, outputs=outputs, checksum=kept.checksum)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for the journal."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Settings:
        """What `to_dict` has made, by way of JSON.

        Raises
        ------
        InvalidRequest
            The values are not those of settings.
        """
        import cattrs  # noqa: PLC0415 - only a resume needs it

        try:
            return cattrs.Converter(forbid_extra_keys=True).structure(kept, cls)
        except (cattrs.BaseValidationError, TypeError, ValueError) as error:
            problem = Problem(field="journal.sqlite", allowed="holds settings that this version does not understand")
            raise InvalidRequest([problem]) from error


def _url_problems(field: str, url: str, schemes: tuple[str, ...]) -> list[Problem]:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, has_host = urlsplit(""), False
    is_plain = not (parts.query or parts.fragment or parts.username or any(c <= " " for c in url))
    if parts.scheme in schemes and has_host and is_plain:
        return []
    return [Problem(field=field, value=url, allowed=f"must be a plain URL of {', '.join(schemes)}: https://host/path/")]
