"""The pages of folders: of Apache, nginx and others, in pieces, hostile, huge."""

from __future__ import annotations

import contextlib
import html
import tracemalloc
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fsmcollect.stream.paths import check_name
from fsmcollect.stream.sources import REFUSED_KEPT
from fsmcollect.stream.sources.index import IndexParser, NoListing, TooManyNames
from fsmcollect.stream.values import Listed
from tests.stream.sources.serving import apache_index, apache_size

#: As Apache 2.2 does it, and 2.4 without HTMLTable.
APACHE_LINES = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /10200/data</title></head><body><h1>Index of /10200/data</h1>
<pre><img src="/icons/blank.gif" alt="Icon "> <a href="?C=N;O=D">Name</a>                    <a href="?C=M;O=A">Last \
modified</a>      <a href="?C=S;O=A">Size</a>  <a href="?C=D;O=A">Description</a><hr>\
<img src="/icons/back.gif" alt="[DIR]"> <a href="/10200/">Parent Directory</a>                             -
<img src="/icons/folder.gif" alt="[DIR]"> <a href="Movies/">Movies/</a>                 20-Nov-2026 12:45    -
<img src="/icons/unknown.gif" alt="[   ]"> <a href="a%20b.mrc">a b.mrc</a>                 20-Nov-2026 12:45  1.4G
<img src="/icons/unknown.gif" alt="[   ]"> <a href="NOTE">NOTE</a>                    20-Nov-2026 12:45   56
<hr></pre></body></html>
"""
NGINX = """<html>
<head><title>Index of /10200/data/</title></head>
<body>
<h1>Index of /10200/data/</h1><hr><pre><a href="../">../</a>
<a href="Movies/">Movies/</a>                                            20-Nov-2026 12:45                   -
<a href="FoilHole_24681013_Data_24671014_24671015_20181024_1623-58250.mrc">FoilHole_24681013_Data_24671014_24671015_2\
0181..&gt;</a> 20-Nov-2026 12:45           671089664
<a href="CountRef_FoilHole.mrc">CountRef_FoilHole.mrc</a>                              20-Nov-2026 12:45         0
</pre><hr></body>
</html>
"""
LIGHTTPD = """<!DOCTYPE html><html><head><title>Index of /10200/data/</title></head><body><h2>Index of /10200/data/</h2>
<div class="list"><table><tbody>
<tr class="d"><td class="n"><a href="../">..</a>/</td><td class="m">&nbsp;</td><td class="s">- &nbsp;</td></tr>
<tr class="d"><td class="n"><a href="Movies/">Movies</a>/</td><td class="m">2026-Nov-20 12:45:00</td><td class="s">- \
&nbsp;</td><td class="t">Directory</td></tr>
<tr><td class="n"><a href="a.eer">a.eer</a></td><td class="m">2026-Nov-20 12:45:00</td><td class="s">251.3M</td></tr>
</tbody></table></div></body></html>
"""
PYTHON = """<!DOCTYPE HTML><html lang="en"><head><title>Directory listing for /data/</title></head><body>
<h1>Directory listing for /data/</h1><hr><ul><li><a href="Movies/">Movies/</a></li><li><a href='a.mrc'>a.mrc</a></li>
<li><A HREF=b.mrc>b.mrc</A></li></ul></body></html>
"""


def read(page: str | bytes, piece_bytes: int = 1 << 20) -> list[Listed]:
    return parsed(page, piece_bytes)[0]


def parsed(page: str | bytes, piece_bytes: int = 1 << 20) -> tuple[list[Listed], IndexParser]:
    data = page.encode() if isinstance(page, str) else page
    parser = IndexParser()
    for start in range(0, len(data), piece_bytes):
        parser.feed(data[start : start + piece_bytes])
    return parser.close(), parser


def with_links(*hrefs: str) -> str:
    return "<title>Index of /</title>" + "\n".join(f'<a href="{href}">x</a>' for href in hrefs)


def names(*hrefs: str) -> list[str]:
    return [row.name for row in read(with_links(*hrefs))]


# -- the servers ------------------------------------------------------------------------------------------------------


def test_apaches_table_is_read_with_sizes_as_near_as_it_tells() -> None:
    page = apache_index("/data", [("A", None), ("a b%23&c.mrc", 1), ("big.mrc", 1_500_000_000), ("z.mrc", 2048)])
    assert read(page) == [
        Listed("A", is_folder=True),
        Listed("a b%23&c.mrc", size_bytes=1, about_bytes=1),
        Listed("big.mrc", about_bytes=round(1.4 * 2**30)),
        Listed("z.mrc", about_bytes=2048),
    ]


def test_apaches_lines_are_read() -> None:
    assert read(APACHE_LINES) == [
        Listed("Movies", is_folder=True),
        Listed("a b.mrc", about_bytes=round(1.4 * 2**30)),
        Listed("NOTE", size_bytes=56, about_bytes=56),
    ]


def test_nginx_cuts_names_short_in_the_text_and_tells_exact_sizes() -> None:
    assert read(NGINX) == [
        Listed("Movies", is_folder=True),
        Listed(
            "FoilHole_24681013_Data_24671014_24671015_20181024_1623-58250.mrc",
            size_bytes=671089664,
            about_bytes=671089664,
        ),
        Listed("CountRef_FoilHole.mrc", size_bytes=0, about_bytes=0),
    ]


def test_lighttpd_and_plain_lists_of_links_are_read() -> None:
    assert read(LIGHTTPD) == [Listed("Movies", is_folder=True), Listed("a.eer", about_bytes=round(251.3 * 2**20))]
    assert read(PYTHON) == [Listed("Movies", is_folder=True), Listed("a.mrc"), Listed("b.mrc")]


def test_a_list_without_a_title_is_a_list() -> None:
    assert read('<ul><li><a href="a.mrc">a</a></ul>') == [Listed("a.mrc")]


def test_an_empty_folder_is_a_listing() -> None:
    assert read(apache_index("/", [])) == []
    assert read('<html><head><title>Index of /</title></head><body><pre><a href="../">../</a></pre>') == []


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<html><body><h1>Service unavailable</h1><p>See <a href='https://example.org/'>our page</a>.</p></body></html>",
        "<title>Sign in</title><a href='/login'>sign in</a> <a href='?lang=de'>de</a> <a href='#top'>top</a>",
        '{"error": "no such folder"}',
        b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe",
    ],
)
def test_what_is_no_listing_is_told_from_one(page: str | bytes) -> None:
    with pytest.raises(NoListing, match="is not a listing of a folder"):
        read(page)


@pytest.mark.parametrize(
    "page", [apache_index("/d", [("a.mrc", 5), ("B", None)]), APACHE_LINES, NGINX, LIGHTTPD, PYTHON]
)
@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 64, 1000])
def test_it_does_not_matter_in_which_pieces_a_page_comes(page: str, piece_bytes: int) -> None:
    assert read(page, piece_bytes) == read(page)


# -- links ------------------------------------------------------------------------------------------------------------


def test_a_name_is_what_the_link_says_decoded_once() -> None:
    assert names("a%20b%2523&amp;c.mrc", "%C3%BC.mrc", "&#252;2.mrc", "100%.mrc", "./a:b.mrc") == [
        "a b%23&c.mrc", "ü.mrc", "ü2.mrc", "100%.mrc", "a:b.mrc",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "href",
    [
        "?C=N;O=D", "a.mrc?download=1", "#top", "/", "/10200/", "//other.example/a.mrc", "../", "..", ".", "./",
        "../x.mrc", "../../etc/passwd", "sub/deeper.mrc", "sub/deeper/", "https://other.example/a.mrc", "http:a.mrc", "ftp://x/a.mrc",
        "file:///etc/passwd", "javascript:void(0)", "mailto:someone", "data:text/plain,x", "", " ", "//",
    ],
)  # fmt: skip
def test_a_link_that_leaves_the_folder_is_passed_over(href: str) -> None:
    rows, parser = parsed(with_links(href, "good.mrc"))
    assert (rows, parser.refused_count) == ([Listed("good.mrc")], 0)


@pytest.mark.parametrize(
    "href",
    ["%2e%2e", "%2e%2e/", "%2E", "..%2fpasswd", "a%2fb.mrc", "%2fetc%2fpasswd", "a%00.mrc", "a%0ab.mrc", "a%1b[2J.mrc",
     "%ff.mrc", "%ed%a0%80.mrc", "x" * 300 + ".mrc", "%c3%bc" * 130, "a%7f.mrc", "x" * 5_000],
)  # fmt: skip
def test_a_name_that_is_not_safe_is_refused_and_told(href: str) -> None:
    rows, parser = parsed(with_links(href, "good.mrc"))
    assert (rows, parser.refused_count) == ([Listed("good.mrc")], 1)
    (told,) = parser.refused
    assert told.isprintable()
    assert len(told) < 500


def test_a_name_in_another_encoding_than_utf_8_is_refused() -> None:
    rows, parser = parsed(b'<title>Index of /</title><a href="\xfc.mrc">x</a><a href="b.mrc">b</a>')
    assert (rows, parser.refused_count) == ([Listed("b.mrc")], 1)


def test_of_many_refused_names_a_few_are_kept() -> None:
    rows, parser = parsed(with_links(*(f"a%2f{i}" for i in range(1000))))
    assert (rows, parser.refused_count, len(parser.refused)) == ([], 1000, REFUSED_KEPT)


def test_a_name_that_is_named_twice_is_there_once() -> None:
    assert names("a.mrc", "b.mrc", "a.mrc", "./a.mrc", "%61.mrc") == ["a.mrc", "b.mrc"]


def test_a_name_that_looks_like_a_row_does_not_tell_the_size() -> None:
    name = "2026-11-20 12:45  543M.mrc"
    assert read(apache_index("/", [(name, 4 << 20)])) == [Listed(name, about_bytes=4 << 20)]


def test_a_quoted_value_may_hold_what_ends_a_tag() -> None:
    assert read('<title>Index of /</title><a title="a > b" href="a>b.mrc">x</a>') == [Listed("a>b.mrc")]


@pytest.mark.parametrize(
    "size_bytes", [0, 1, 972, 973, 2048, 10_188, 10_189, 1_000_000, 543 << 20, 1_500_000_000, 5 << 40]
)
def test_a_rounded_size_is_near_the_real_one(size_bytes: int) -> None:
    assert len(apache_size(size_bytes)) == 4
    (row,) = read(apache_index("/", [("a.mrc", size_bytes)]))
    assert row.about_bytes == pytest.approx(size_bytes, rel=0.06)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/", exclude_categories=["C", "Z"]), min_size=1,
                        max_size=40), max_size=8, unique=True), st.integers(1, 400))  # fmt: skip
@example(["a:b", "ü", "%2e", "&amp;", '"', "'", "<a href=x>"], 5)
def test_every_name_that_is_safe_comes_through_apaches_page(chosen: list[str], piece_bytes: int) -> None:
    safe = [name for name in chosen if check_name(name) is None]
    assert [row.name for row in read(apache_index("/", [(name, 5) for name in safe]), piece_bytes)] == safe


@given(st.binary(max_size=3000), st.integers(1, 500))
@example(b'<a href="&#' + b"9" * 3900 + b';">', 500)
def test_no_bytes_make_it_raise_anything_but_its_own_error(page: bytes, piece_bytes: int) -> None:
    try:
        rows, _ = parsed(page, piece_bytes)
    except NoListing:
        rows = []
    assert all(check_name(row.name) is None for row in rows)


# -- large and hostile ------------------------------------------------------------------------------------------------


def large_page(rows: int) -> list[bytes]:
    row = (
        '<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td><td><a href="FoilHole_%06d_Fractions.tif">'
        'FoilHole_%06d_Frac..&gt;</a></td><td align="right">2026-11-20 12:45  </td><td align="right">543M</td>'
        "<td>&nbsp;</td></tr>\n"
    )
    return [("".join(row % (i, i) for i in range(start, start + 250))).encode() for start in range(0, rows, 250)]


def test_a_page_of_many_megabytes_is_read_and_not_kept() -> None:
    """How fast is the benchmarks' business (100,000 rows: 0.6 s)."""
    pieces = large_page(20_000)
    parser = IndexParser()
    tracemalloc.start()
    for piece in pieces:
        parser.feed(piece)
    rows = parser.close()
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row.name for row in rows] == [f"FoilHole_{i:06d}_Fractions.tif" for i in range(20_000)]
    assert sum(map(len, pieces)) > 4e6
    assert most_bytes < 500 * len(rows), "a row costs what its name and its sizes cost"


@pytest.mark.parametrize(
    "piece",
    [
        b"<a ", b'<a "', b"<a href='", b"<", b"<!--", b"&#", b'<a href="x">', b"<title>", b"\xff", b"<a href=x ",
        b"2026-11-20 ", b"<a href=x>2026-11-20 12:45 ",
    ],
)  # fmt: skip
def test_a_hostile_page_takes_time_in_proportion_to_its_size(piece: bytes) -> None:
    """4 MB each: what is quadratic does not end."""
    block = piece * (65536 // len(piece))
    parser = IndexParser()
    with contextlib.suppress(NoListing, TooManyNames):
        for _ in range(64):
            parser.feed(block)
        parser.close()
    assert parser.refused_count < 2**20


def test_html_is_unescaped_before_it_is_decoded() -> None:
    name = "a&b%c d.mrc"
    assert names(html.escape(quote(name))) == [name]
