"""Listings look as Apache's and nginx's do."""

from __future__ import annotations

import pytest

from fsmcollect.sim.archive.content import Row
from fsmcollect.sim.archive.index import HOSTILE_LINKS, STYLES, about, apache, nginx

ROWS = [
    Row("A/", None),
    Row("a b%23&c.mrc", 1),
    Row("a_name_that_is_too_long_to_be_shown_whole_in_either_of_both.mrc", 1_500_000_000),
]


def test_apache_links_whole_names_and_shows_short_ones_with_rounded_sizes() -> None:
    page = b"".join(apache("/empiar/world_availability/10200/data/", ROWS)).decode()
    assert page.splitlines()[3] == "  <title>Index of /empiar/world_availability/10200/data</title>"
    rows = [line for line in page.splitlines() if line.startswith("<tr><td")]
    assert rows == [
        (
            '<tr><td valign="top"><img src="/icons/folder.gif" alt="[PARENTDIR]"></td><td>'
            '<a href="/empiar/world_availability/10200/">Parent Directory</a></td><td>&nbsp;</td>'
            '<td align="right">  - </td><td>&nbsp;</td></tr>'
        ),
        (
            '<tr><td valign="top"><img src="/icons/folder.gif" alt="[DIR]"></td><td><a href="A/">A/</a></td>'
            '<td align="right">2026-01-06 09:30  </td><td align="right">  - </td><td>&nbsp;</td></tr>'
        ),
        (
            '<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td><td>'
            '<a href="a%20b%2523&amp;c.mrc">a b%23&amp;c.mrc</a></td><td align="right">2026-01-06 09:30  </td>'
            '<td align="right">  1 </td><td>&nbsp;</td></tr>'
        ),
        (
            '<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td><td>'
            '<a href="a_name_that_is_too_long_to_be_shown_whole_in_either_of_both.mrc">a_name_that_is_too_l..&gt;</a>'
            '</td><td align="right">2026-01-06 09:30  </td><td align="right">1.4G</td><td>&nbsp;</td></tr>'
        ),
    ]
    assert page.count('<a href="?C=') == 4


def test_nginx_gives_exact_sizes_after_the_link() -> None:
    page = b"".join(nginx("/10200/data/", ROWS)).decode()
    assert page.splitlines()[4:] == [
        '<a href="A/">A/</a>                                                 06-Jan-2026 09:30                   -',
        (
            '<a href="a%20b%2523&amp;c.mrc">a b%23&amp;c.mrc</a>'
            "                                       06-Jan-2026 09:30                   1"
        ),
        (
            '<a href="a_name_that_is_too_long_to_be_shown_whole_in_either_of_both.mrc">'
            "a_name_that_is_too_long_to_be_shown_whole_in_ei..&gt;</a> 06-Jan-2026 09:30          1500000000"
        ),
        "</pre><hr></body>",
        "</html>",
    ]


@pytest.mark.parametrize(
    "size_bytes, text",
    [
        (0, "  0 "),
        (972, "972 "),
        (2048, "2.0K"),
        (10_188, "9.9K"),
        (10_240, " 10K"),
        (543 * 2**20, "543M"),
        (995_000, "972K"),
        (1_500_000_000, "1.4G"),
        (3 * 2**40, "3.0T"),
    ],
)
def test_apache_rounds_to_four_characters(size_bytes: int, text: str) -> None:
    assert about(size_bytes) == text


@pytest.mark.parametrize("style", STYLES)
def test_an_empty_folder_is_a_page_and_a_long_one_comes_in_pieces(style: str) -> None:
    assert b"Index of" in b"".join(STYLES[style]("/x/", [], ()))
    pieces = list(STYLES[style]("/x/", (Row(f"{n}.mrc", n) for n in range(5000)), ()))
    assert len(pieces) > 3
    assert max(map(len, pieces)) < 100_000
    assert b"".join(pieces).count(b".mrc</a>") == 5000


@pytest.mark.parametrize("style", STYLES)
def test_hostile_links_are_written_as_they_are(style: str) -> None:
    page = b"".join(STYLES[style]("/x/", [], HOSTILE_LINKS)).decode()
    assert all(f'<a href="{link}">' in page for link in HOSTILE_LINKS)
