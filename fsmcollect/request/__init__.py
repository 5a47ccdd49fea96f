"""What is asked for: frozen values with units, checked once at the door, from TOML, from MXCuBE's dictionary and back.

`model` has the values, `fields` the rules of one field, `structuring` collects everything that is wrong, `documents`
finds its line, `reading` turns text into requests, `mxcube` does so for MXCuBE's dictionary.
"""

from fsmcollect.request.fields import exact
from fsmcollect.request.model import (
    MAX_IMAGES,
    MAX_WEDGES,
    Beam,
    Centring,
    CentringMethod,
    Files,
    InverseBeam,
    Request,
    Sample,
    Snapshots,
    SweepRequest,
)
from fsmcollect.request.mxcube import from_mxcube, parse_mxcube, written_in_mxcube
from fsmcollect.request.reading import Written, from_dict, parse_toml, to_dict, to_toml, written_in_toml

__all__ = [
    "MAX_IMAGES",
    "MAX_WEDGES",
    "Beam",
    "Centring",
    "CentringMethod",
    "Files",
    "InverseBeam",
    "Request",
    "Sample",
    "Snapshots",
    "SweepRequest",
    "Written",
    "exact",
    "from_dict",
    "from_mxcube",
    "parse_mxcube",
    "parse_toml",
    "to_dict",
    "to_toml",
    "written_in_mxcube",
    "written_in_toml",
]
