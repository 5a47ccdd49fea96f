"""The pages that list a folder: Apache's table and nginx's plain text, as those servers write them.

Owns HTML. Owns neither which rows there are nor how they are sent.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

from fsmcollect.sim.archive.content import Row

_CHUNK_BYTES = 64 * 1024
#: Both servers cut what they show, never what they link. Apache's NameWidth and nginx's width, by their manuals.
_APACHE_NAME = 23
_NGINX_NAME = 50
_MODIFIED = "2026-01-06 09:30  "
#: Rows that nobody may follow or write to disk: outside the folder, absolute, of another host, and names that are none.
HOSTILE_LINKS = (
    "../",
    "../../../../../etc/passwd",
    "/etc/passwd",
    "//elsewhere.invalid/evil.mrc",
    "https://elsewhere.invalid/evil.mrc",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "%2e%2e/",
    "./",
    "..%2f..%2fevil.mrc",
    "a%2fevil.mrc",
    "sub/evil.mrc",
    "%2fevil.mrc",
    "nul%00evil.mrc",
    "line%0aevil.mrc",
    "escape%1b[2Jevil.mrc",
    "%ff%feevil.mrc",
    "e" * 300 + "vil.mrc",
    "",
    "#evil.mrc",
    "?evil.mrc",
)


def apache(path: str, rows: Iterable[Row], links: Iterable[str] = ()) -> Iterator[bytes]:
    """FancyIndexing with HTMLTable; `links` are further ``href`` as they stand."""
    title = html.escape(path.rstrip("/") or "/")
    parent = quote(path.rstrip("/").rpartition("/")[0] + "/")
    top = f"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">
<html>
 <head>
  <title>Index of {title}</title>
 </head>
 <body>
<h1>Index of {title}</h1>
  <table>
   <tr><th valign="top">&nbsp;</th><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th>\
<th><a href="?C=S;O=A">Size</a></th><th><a href="?C=D;O=A">Description</a></th></tr>
   <tr><th colspan="5"><hr></th></tr>
"""
    back = _apache_row(parent, "Parent Directory", "PARENTDIR", "&nbsp;", "  - ")
    written = itertools.chain(
        (_apache_row(_link(row.name), _cut(row.name, _APACHE_NAME), *_apache_columns(row)) for row in rows),
        (_apache_row(html.escape(link), _cut(link, _APACHE_NAME), "   ", _MODIFIED, "2.0K") for link in links),
    )
    bottom = '   <tr><th colspan="5"><hr></th></tr>\n</table>\n</body></html>\n'
    return _chunks(itertools.chain((top, back), written, (bottom,)))


def nginx(path: str, rows: Iterable[Row], links: Iterable[str] = ()) -> Iterator[bytes]:
    """Autoindex: exact sizes after the link; `links` are further ``href`` as they stand."""
    title = html.escape(path)
    top = f"<html>\r\n<head><title>Index of {title}</title></head>\r\n<body>\r\n<h1>Index of {title}</h1><hr><pre>"
    written = itertools.chain(
        (_nginx_row(_link(row.name), row.name, "-" if row.size_bytes is None else str(row.size_bytes)) for row in rows),
        (_nginx_row(html.escape(link), link, "2048") for link in links),
    )
    bottom = "</pre><hr></body>\r\n</html>\r\n"
    return _chunks(itertools.chain((top, '<a href="../">../</a>\r\n'), written, (bottom,)))


#: By the name that `Archive` takes.
STYLES: dict[str, Callable[[str, Iterable[Row], Iterable[str]], Iterator[bytes]]] = {"apache": apache, "nginx": nginx}


def about(size_bytes: int) -> str:
    """A size as Apache rounds it: four characters, 1K = 1,024."""
    if size_bytes < 973:
        return f"{size_bytes:3d} "
    size, units = size_bytes / 1024, "KMGTPE"
    while size >= 973:
        size, units = size / 1024, units[1:]
    return f"{size:.1f}{units[0]}" if round(size, 1) < 10 else f"{size:3.0f}{units[0]}"


def _apache_columns(row: Row) -> tuple[str, str, str]:
    return ("DIR" if row.size_bytes is None else "   ", _MODIFIED, _about(row.size_bytes))


def _about(size_bytes: int | None) -> str:
    return "  - " if size_bytes is None else about(size_bytes)


def _apache_row(link: str, text: str, alt: str, modified: str, size: str) -> str:
    icon = "unknown" if alt == "   " else "folder"
    is_parent = alt == "PARENTDIR"
    when = f"<td>{modified}</td>" if is_parent else f'<td align="right">{modified}</td>'
    return (
        f'<tr><td valign="top"><img src="/icons/{icon}.gif" alt="[{alt}]"></td><td><a href="{link}">{text}</a></td>'
        f'{when}<td align="right">{size}</td><td>&nbsp;</td></tr>\n'
    )


def _nginx_row(link: str, name: str, size: str) -> str:
    gap = " " * max(0, _NGINX_NAME - len(name))
    return f'<a href="{link}">{_cut(name, _NGINX_NAME)}</a>{gap} 06-Jan-2026 09:30 {size:>19}\r\n'


def _link(name: str) -> str:
    """As both servers write an ``href``: percent-encoded, but for the characters that a path may have."""
    return html.escape(quote(name, safe="$-_.+!*'(),@&=~/"), quote=False)


def _cut(name: str, width: int) -> str:
    return html.escape(name if len(name) <= width else name[: width - 3] + "..>")


def _chunks(pieces: Iterable[str]) -> Iterator[bytes]:
    waiting: list[str] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length >= _CHUNK_BYTES:
            yield "".join(waiting).encode()
            waiting, length = [], 0
    yield "".join(waiting).encode()
