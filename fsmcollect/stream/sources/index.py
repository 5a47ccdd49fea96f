"""The page a web server makes of a folder, read piece by piece: which files and folders it names.

Owns what a link may be: one plain name inside the folder. Everything else on a page is passed over, whoever wrote it.
Asking for pages is the business of `http`.

Read are the pages of Apache (a table, or preformatted lines), of nginx and lighttpd, and plain lists of links. It looks
for links and nothing else: the HTML parser of the standard library takes 4 s for 100,000 rows, and looks at the same
text again with every piece where a hostile page leaves a tag open. Here no text is looked at more than a few times.
"""

from __future__ import annotations

import codecs
import html
import re
from urllib.parse import unquote_to_bytes

from fsmcollect.stream.paths import check_name
from fsmcollect.stream.sources import REFUSED_KEPT
from fsmcollect.stream.values import Listed

#: More names in one folder are an attack. Assumed; the largest entries have some hundred thousand files.
MAX_NAMES = 1_000_000
#: A longer link is no file: 255 bytes of a name, percent-encoded, are 765 characters.
_MAX_HREF_CHARS = 4_000
#: A tag that is open for so long is an attack. Assumed.
_MAX_TAG_CHARS = 16 << 10
#: A row tells the size so soon behind the link. Assumed; Apache's tables take some 150 characters.
_MAX_ROW_CHARS = 1 << 10
#: The title stands so early in a page. Assumed.
_MAX_HEAD_CHARS = 16 << 10

_TITLE = re.compile(r"<(?:title|h1)\b[^<>]*>\s*(?:index of|directory listing)\b", re.IGNORECASE)
_LINK = re.compile(r"<[aA]\s")
#: A tag from within; a quoted value may hold ">". Possessive: there is one way to match, so it takes one pass.
_REST_OF_TAG = re.compile(r"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_HREF = re.compile(r"""\shref\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
#: Date, time, and then the size, with tags between them or not.
_SIZE = re.compile(
    r"\d{1,4}-(?:\d\d|[A-Za-z]{3})-\d{2,4}\s++\d\d:\d\d(?::\d\d)?"
    r"(?:\s|&nbsp;|<[^<>]*+>)*+(?:(\d{1,18})|(\d{1,6}(?:\.\d{1,3})?) ?([KMGTP]))(?![\w.])",
    re.ASCII,
)
_UNITS = {unit: 1 << (10 * power) for power, unit in enumerate("KMGTP", start=1)}


class NoListing(Exception):
    """The page is not one of a folder: of maintenance, of a login. The next one may be."""


class TooManyNames(Exception):
    """The page is that of no entry."""


class IndexParser:
    """Feed it a page as it comes; `close` has what it names.

    Attributes
    ----------
    refused : dict of str to str
        Names that are not safe, quoted for messages, and why: never followed. At most `REFUSED_KEPT`.
    refused_count : int
        How many there were.
    """

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.refused_count = 0
        # What is no UTF-8 becomes surrogates, and a name that holds one is refused.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._head = ""
        #: What has come and may still be the beginning of a row.
        self._text = ""
        self._rows: dict[str, Listed] = {}

    def feed(self, data: bytes) -> None:
        """Read the next piece of the page.

        Raises
        ------
        NoListing, TooManyNames
            The message goes on where its URL has been named.
        """
        self._read(self._decoder.decode(data), is_last=False)

    def close(self) -> list[Listed]:
        """What the page names, in its order; every name once. Raises as `feed`."""
        self._read(self._decoder.decode(b"", final=True), is_last=True)
        if not self._rows and not self.refused and _TITLE.search(self._head) is None:
            raise NoListing("is not a listing of a folder")
        return list(self._rows.values())

    def _read(self, text: str, *, is_last: bool) -> None:
        if len(self._head) < _MAX_HEAD_CHARS:
            self._head += text[: _MAX_HEAD_CHARS - len(self._head)]
        text = self._text + text
        link = _LINK.search(text)
        while link is not None:
            tag = _REST_OF_TAG.match(text, link.end())
            if tag is None:
                if len(text) - link.start() > _MAX_TAG_CHARS:
                    raise NoListing("is not a listing of a folder: a tag in it does not end")
                break
            following = _LINK.search(text, tag.end())
            end = min(tag.end() + _MAX_ROW_CHARS, len(text) if following is None else following.start())
            if following is None and end == len(text) and not is_last:
                break
            href = _HREF.search(text, link.start(), tag.end())
            if href is not None:
                self._note(href[1] or href[2] or href[3] or "", text, tag.end(), end)
            link = following
        # Without a link to come back to, the last characters may be the beginning of one.
        self._text = text[link.start() :] if link is not None else text[-2:]

    def _note(self, href: str, text: str, begin: int, end: int) -> None:
        """Take a link's row, whose text is between `begin` and `end`, for what it is."""
        name, is_folder = _named(href)
        if not name or name in self._rows:
            return
        reason = check_name(name)
        if reason is not None:
            self.refused_count += 1
            if len(self.refused) < REFUSED_KEPT:
                self.refused[repr(name[:100])] = reason
            return
        if len(self._rows) >= MAX_NAMES:
            raise TooManyNames(f"names more than {MAX_NAMES:,} files: no folder of an entry does")
        size_bytes = about_bytes = None
        # The name is shown in the link's own text, and may look like a date and a size itself.
        if not is_folder and (size := _SIZE.search(text, max(begin, text.find("</", begin, end)), end)) is not None:
            if size[1] is not None:
                size_bytes = about_bytes = int(size[1])
            else:
                about_bytes = round(float(size[2]) * _UNITS[size[3]])
        self._rows[name] = Listed(name, is_folder, size_bytes, about_bytes)


def _named(href: str) -> tuple[str, bool]:
    """The one name that a link means, and whether it is a folder's; empty where it means anything else."""
    if len(href) > _MAX_HREF_CHARS:
        return href, False  # too long for any name, and refused as such
    if "&" in href:
        href = html.unescape(href)
    href = href.strip()
    if _SCHEME.match(href) is not None or "?" in href or "#" in href:
        return "", False
    # Apache's way of writing a name with a colon.
    href = href.removeprefix("./")
    is_folder = href.endswith("/")
    part = href.removesuffix("/")
    if "/" in part or part in (".", ".."):
        return "", False
    if "%" in part:
        # A percent-encoded ".." or slash is a name nobody gives: `check_name` refuses it aloud.
        part = unquote_to_bytes(part.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    return part, is_folder
