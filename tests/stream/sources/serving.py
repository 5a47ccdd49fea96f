"""Real servers for tests, on loopback: Debian's nginx and pyftpdlib. Each serves a tree until its block ends.

The pages that Apache makes of folders are written by `apache_index`: the table of FancyIndexing, name cut short, sizes
rounded. That way nginx serves what the archive's own front end sends.
"""

from __future__ import annotations

import contextlib
import html
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import attrs

with warnings.catch_warnings():
    # Up to Python 3.11 it stands on asyncore, which says that it will go; from 3.12 on it brings its own.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

__all__ = ["FTPHandler", "Ftp", "Style", "apache_index", "apache_size", "ftp", "nginx", "plant"]

#: Debian puts nginx where only root's PATH leads.
_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_END_LIMIT_S = 10.0

Style = Literal["apache", "autoindex"]


def plant(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below `root`."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


# ---------------------------------------------------------------------------------------------------------------------
# HTTP
# ---------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def nginx(tree: Path, style: Style = "autoindex", settings: str = "") -> Generator[str]:
    """Serve a tree; yields its URL, with a slash at the end.

    Parameters
    ----------
    style : str
        ``apache``: folders as they are now, as Apache shows them. ``autoindex``: nginx's own pages.
    settings : str
        Further lines for the server's configuration.
    """
    program = shutil.which("nginx", path=_PLACES)
    if program is None:
        raise RuntimeError("these tests need nginx: install Debian's nginx-light, or whatever has it here")
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nginx-")))
        # The socket is made here and handed over: no port is ever taken by somebody else, and nobody has to wait until
        # the server listens.
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listening.getsockname()[1]
        folders = "autoindex on;"
        if style == "apache":
            _write_apache_indexes(tree, scratch / "pages")
            folders = f"location ~ /$ {{ root '{scratch}/pages'; try_files $uri/index.html =404; }}"
        (scratch / "nginx.conf").write_text(
            # Only root may say who serves, and only root's nginx would otherwise not read root's files.
            f"daemon off; worker_processes 1; {'user root; ' if os.geteuid() == 0 else ''}"
            f"pid {scratch}/pid; error_log {scratch}/errors;\n"
            "events { worker_connections 256; }\n"
            "http { access_log off; sendfile on; default_type application/octet-stream; types { text/html html; }\n"
            + "".join(f" {kind}_temp_path {scratch}/{kind};" for kind in _TEMPORARY)
            + f"\n server {{ listen 127.0.0.1:{port}; root '{tree}'; {settings} {folders} }} }}\n",
            encoding="utf-8",
        )
        with (scratch / "said").open("wb") as said:
            server = subprocess.Popen(
                [program, "-c", str(scratch / "nginx.conf"), "-p", str(scratch)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[listening.fileno()],
                env={**os.environ, "NGINX": f"{listening.fileno()};"},
            )
        listening.close()
        stack.callback(_end, server)
        try:
            yield f"http://127.0.0.1:{port}/"
        except BaseException as error:
            if server.poll() is not None:
                error.add_note(f"nginx had ended by itself: {(scratch / 'said').read_text()}{_errors(scratch)}")
            raise


_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def _errors(scratch: Path) -> str:
    file = scratch / "errors"
    return file.read_text() if file.exists() else ""


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_END_LIMIT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(_END_LIMIT_S)


def apache_index(title: str, rows: Iterable[tuple[str, int | None]]) -> str:
    """The page that Apache makes of a folder (IndexOptions FancyIndexing HTMLTable).

    Parameters
    ----------
    rows : iterable of (str, int or None)
        Name, and size in bytes; None for a folder.
    """
    sorting = "".join(
        f'<th><a href="?C={letter};O=A">{name}</a></th>'
        for letter, name in (("N", "Name"), ("M", "Last modified"), ("S", "Size"), ("D", "Description"))
    )
    lines = [
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">',
        "<html>\n <head>",
        f"  <title>Index of {html.escape(title)}</title>\n </head>\n <body>\n<h1>Index of {html.escape(title)}</h1>",
        f'  <table>\n   <tr><th valign="top">&nbsp;</th>{sorting}</tr>',
        '   <tr><th colspan="5"><hr></th></tr>',
        _apache_row("folder", "PARENTDIR", "/", "Parent Directory", "  - "),
    ]
    for name, size_bytes in rows:
        if size_bytes is None:
            lines.append(_apache_row("folder", "DIR", _href(name) + "/", name + "/", "  - "))
        else:
            lines.append(_apache_row("unknown", "   ", _href(name), name, apache_size(size_bytes)))
    return "\n".join([*lines, '   <tr><th colspan="5"><hr></th></tr>\n</table>\n</body></html>\n'])


def apache_size(size_bytes: int) -> str:
    """A size as Apache rounds it: four characters, in powers of 1,024."""
    if size_bytes < 973:
        return f"{size_bytes:3d} "
    units = iter("KMGTP")
    unit, size = next(units), size_bytes / 1024
    while size >= 973:
        unit, size = next(units), size / 1024
    return f"{size:.1f}{unit}" if size < 9.95 else f"{size:3.0f}{unit}"


def _apache_row(icon: str, kind: str, href: str, name: str, size: str) -> str:
    cut = name if len(name) <= 23 else name[:20] + "..>"
    return (
        f'<tr><td valign="top"><img src="/icons/{icon}.gif" alt="[{kind}]"></td>'
        f'<td><a href="{href}">{html.escape(cut)}</a></td>'
        f'<td align="right">2026-11-20 12:45  </td><td align="right">{size}</td><td>&nbsp;</td></tr>'
    )


def _href(name: str) -> str:
    # Apache leaves these as they are; a name with a colon would be taken for a scheme.
    return html.escape(("./" if ":" in name else "") + quote(name, safe=":@!$'()*+,;=&~"))


def _write_apache_indexes(tree: Path, pages: Path) -> None:
    for folder, folders, files in os.walk(tree):
        there = pages / Path(folder).relative_to(tree)
        there.mkdir(parents=True, exist_ok=True)
        rows: list[tuple[str, int | None]] = [(name, None) for name in sorted(folders)]
        rows += [(name, (Path(folder) / name).stat().st_size) for name in sorted(files)]
        title = "/" + Path(folder).relative_to(tree).as_posix()
        (there / "index.html").write_text(apache_index(title, rows), encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# FTP
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Ftp:
    """A running FTP server."""

    url: str
    #: Every command with its argument, in order: ``RETR /data/a.mrc``.
    commands: list[str]


@contextlib.contextmanager
def ftp(tree: Path, handler: type[FTPHandler] = FTPHandler, *, without: Iterable[str] = ()) -> Generator[Ftp]:
    """Serve a tree to anonymous users.

    Parameters
    ----------
    handler : type
        For a server that misbehaves.
    without : iterable of str
        Commands that the server does not know: ``MLSD``.
    """
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL + 1)
    commands: list[str] = []
    authorizer = DummyAuthorizer()
    authorizer.add_anonymous(str(tree))

    class Handler(handler):  # type: ignore[misc]
        proto_cmds = {  # noqa: RUF012 - as pyftpdlib has it
            name: about for name, about in handler.proto_cmds.items() if name not in without
        }

        def pre_process_command(self, line: str, command: str, argument: str) -> None:
            commands.append(line)
            super().pre_process_command(line, command, argument)

    Handler.authorizer = authorizer
    Handler.banner = "a server of a test"
    server = FTPServer(("127.0.0.1", 0), Handler)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            server.ioloop.loop(timeout=0.02, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve, name="ftp server of a test")
    thread.start()
    try:
        yield Ftp(f"ftp://127.0.0.1:{server.address[1]}/", commands)
    finally:
        over.set()
        thread.join(_END_LIMIT_S)
