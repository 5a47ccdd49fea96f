"""What streams promise: throughput and processor time beside curl and aria2c, memory, and long listings.

An nginx of Debian serves on loopback; whoever fetches does so into memory (``/dev/shm``, where there is one), so that
the disk, which only we sync, is not what is measured. All of it needs ``nginx``, ``curl``, ``aria2c`` and
``openssl``.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.figure import Figure

FILES = 40
FILE_BYTES = 50 << 20
MANY = 100_000
ROUNDS = 4
JOBS = 4


@attrs.frozen
class Spent:
    """What a process took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def fetching() -> Iterator[Figure]:
    """40 movies of 50 MiB, 4 at once: beside curl and aria2c, with and without checksums and TLS."""
    with _scratch() as scratch:
        tree = scratch / "tree"
        names = [f"movie_{number:03}.mrc" for number in range(FILES)]
        _entry(tree, FILES)
        for name in names:
            _movie(tree / "data" / "1" / "data" / "Movies" / name, FILE_BYTES)
        gigabytes = FILES * FILE_BYTES / 1e9
        with _nginx(tree, scratch) as served:
            urls, secure = (
                [f"{root}/data/1/data/Movies/{name}" for name in names] for root in (served.url, served.secure_url)
            )
            commands = {
                "curl": _curl(urls),
                "aria2c": _aria2c(urls, scratch),
                "ours": _ours(served.url, "--no-checksum"),
                "sha256": _curl_and_sha256(urls),
                "ours, sha256": _ours(served.url),
                "curl, TLS": _curl(secure, "--cacert", str(served.certificate)),
                "ours, TLS": _trusting(served.certificate, _ours(served.secure_url, "--no-checksum")),
            }
            spent: dict[str, list[Spent]] = {name: [] for name in commands}
            for name in ("curl", "ours"):  # the first of all warm the caches
                _run(commands[name], scratch / "out")
            for _ in range(ROUNDS):
                for name, command in commands.items():
                    spent[name].append(_run(command, scratch / "out"))
    speeds = {name: [gigabytes * 1e3 / one.wall_s for one in each] for name, each in spent.items()}
    costs = {name: [one.cpu_s / gigabytes for one in each] for name, each in spent.items()}

    def beside(name: str, other: str, of: dict[str, list[float]]) -> list[float]:
        return [ours / theirs for ours, theirs in zip(of[name], of[other], strict=True)]

    yield Figure(name="40 x 50 MiB from nginx, 4 at once", unit="MB/s", values=speeds["ours"])
    for peer in ("curl", "aria2c"):
        yield Figure(name=f"  {peer}", unit="MB/s", values=speeds[peer])
        yield Figure(name=f"  ours beside {peer}", unit="x", at_least=1.0, values=beside("ours", peer, speeds))
    yield Figure(name="processor time", unit="s/GB", values=costs["ours"])
    yield Figure(name="  curl", unit="s/GB", values=costs["curl"])
    yield Figure(name="  ours beside curl", unit="x", at_most=1.3, values=beside("ours", "curl", costs))
    yield Figure(name="processor time with SHA-256", unit="s/GB", values=costs["ours, sha256"])
    yield Figure(name="  sha256sum | curl", unit="s/GB", values=costs["sha256"])
    yield Figure(
        name="  ours beside sha256sum | curl", unit="x", at_most=1.5, values=beside("ours, sha256", "sha256", costs)
    )
    yield Figure(name="peak memory", unit="MB", at_most=120, values=[one.peak_mb for one in spent["ours, sha256"]])
    yield Figure(name="by https", unit="MB/s", values=speeds["ours, TLS"])
    yield Figure(name="  curl", unit="MB/s", values=speeds["curl, TLS"])
    yield Figure(name="  ours beside curl", unit="x", values=beside("ours, TLS", "curl, TLS", speeds))
    yield Figure(name="  processor time beside curl", unit="x", values=beside("ours, TLS", "curl, TLS", costs))


def listing() -> Iterator[Figure]:
    """An entry of 100,000 files: listing it."""
    with _scratch() as scratch:
        tree = scratch / "tree"
        _entry(tree, MANY)
        folder = tree / "data" / "1" / "data" / "Movies"
        for number in range(MANY):
            (folder / f"movie_{number:06}.mrc").touch()
        with _nginx(tree, scratch) as served:
            code = _LIST.format(url=served.url)
            seconds: list[float] = []
            peaks: list[float] = []
            for _ in range(3):
                spent, said = _run_for_output([sys.executable, "-c", code])
                count, took = said.split()
                if int(count) != MANY:
                    raise RuntimeError(f"{count} of {MANY} movies were listed")
                seconds.append(float(took))
                peaks.append(spent.peak_mb)
    yield Figure(name="listing 100,000 files", unit="s", at_most=10, values=seconds)
    yield Figure(name="  peak memory", unit="MB", at_most=120, values=peaks)


_LIST = """
import random, time, trio
from fsmcollect.stream.listing.survey import Surveyor
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.sources.http import Http

async def main():
    asked = Settings(accession="1", api_url="{url}/api/", data_url="{url}/data/")
    async with Http(jobs=4) as http:
        ask = Surveyor(settings=asked, http=http, has_ftp=False, policy=Policy(), random=random.Random())
        entry = await ask.describe()
        began = time.perf_counter()
        found = await ask.files(entry)
        print(len(found.chosen.movies), time.perf_counter() - began)

trio.run(main)
"""


def many_movies() -> Iterator[Figure]:
    """An entry of 100,000 small movies, streamed to its end with every output (minutes)."""
    with _scratch() as scratch:
        tree = scratch / "tree"
        _entry(tree, MANY)
        folder = tree / "data" / "1" / "data" / "Movies"
        _movie(folder / "movie_000000.mrc", 1024 + 64)
        for number in range(1, MANY):
            os.link(folder / "movie_000000.mrc", folder / f"movie_{number:06}.mrc")
        with _nginx(tree, scratch) as served:
            spent = _run(_ours(served.url), scratch / "out")
    yield Figure(name="100,000 small movies", unit="1/s", values=[MANY / spent.wall_s])
    yield Figure(name="  peak memory", unit="MB", at_most=120, values=[spent.peak_mb])


# ---------------------------------------------------------------------------------------------------------------------
# What is served
# ---------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _scratch() -> Generator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def _entry(tree: Path, movies: int) -> None:
    (tree / "api" / "1").mkdir(parents=True)
    (tree / "data" / "1" / "data" / "Movies").mkdir(parents=True)
    imageset = {
        "name": "movies",
        "directory": "data/Movies",
        "category": "micrographs - multiframe",
        "data_format": "MRC",
        "num_images_or_tilt_series": movies,
    }
    entry = {"EMPIAR-1": {"title": "A benchmark", "status": "REL", "imagesets": [imageset]}}
    (tree / "api" / "1" / "index.json").write_text(json.dumps(entry))


def _movie(path: Path, size_bytes: int) -> None:
    """A valid MRC file of just that size: a row of frames, one pixel high, of bytes."""
    pixels = size_bytes - 1024
    width = next(width for width in (4096, 64, 1) if pixels % width == 0)
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, width, 1, pixels // width, 0)
    struct.pack_into("<4sI", header, 208, b"MAP ", 0x4444)
    with path.open("wb") as file:
        file.write(header)
        block = os.urandom(1 << 20)
        for begin in range(0, pixels, len(block)):
            file.write(block[: min(len(block), pixels - begin)])


@attrs.frozen
class Served:
    """A tree that nginx serves; the URLs end without a slash."""

    url: str
    secure_url: str
    #: Of its own making: who shall trust it has to be told of it.
    certificate: Path


@contextlib.contextmanager
def _nginx(tree: Path, scratch: Path) -> Generator[Served]:
    certificate = _certificate(scratch)
    with contextlib.ExitStack() as stack:
        # Made here and handed over: no port is ever taken by somebody else, and nobody waits until the server listens.
        plain, secure = (stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64)) for _ in range(2))
        ports = [listening.getsockname()[1] for listening in (plain, secure)]
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        config = scratch / "nginx.conf"
        config.write_text(
            f"""{"user root;" if os.geteuid() == 0 else ""} daemon off; worker_processes 1;
            pid {scratch}/nginx.pid; error_log {scratch}/error.log;
            events {{ worker_connections 64; }}
            http {{ access_log off; sendfile on; keepalive_requests 1000000;
                {" ".join(f"{kind}_temp_path {scratch}/{kind};" for kind in kinds)}
                root {tree}; autoindex on; index index.json;
                ssl_certificate {certificate}; ssl_certificate_key {_key(certificate)};
                server {{ listen 127.0.0.1:{ports[0]}; }}
                server {{ listen 127.0.0.1:{ports[1]} ssl; }} }}
            """
        )
        handed = [listening.fileno() for listening in (plain, secure)]
        server = subprocess.Popen(
            [_found("nginx"), "-c", str(config), "-p", str(scratch)],
            stderr=stack.enter_context((scratch / "said").open("wb")),
            pass_fds=handed,
            env={**os.environ, "NGINX": "".join(f"{number};" for number in handed)},
        )
        stack.callback(_end, server)
        for listening in (plain, secure):
            listening.close()  # now they are nginx's alone: where that has ended, a connection is refused
        try:
            yield Served(f"http://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[1]}", certificate)
        except BaseException as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.5)  # a server that ends of itself resets connections a moment before
                error.add_note(f"nginx had ended by itself: {(scratch / 'said').read_text()}")
            raise


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(10)


def _certificate(scratch: Path) -> Path:
    """Signed by itself, for this machine, with its key beside it."""
    made = scratch / "certificate.pem"
    options = ("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(_key(made)), "-out", str(made))
    command = [_found("openssl"), "req", "-x509", "-newkey", "rsa:2048", *options, *files]
    subprocess.run(command, check=True, capture_output=True)
    return made


def _key(certificate: Path) -> Path:
    return certificate.with_suffix(".key")


# ---------------------------------------------------------------------------------------------------------------------
# Who fetches
# ---------------------------------------------------------------------------------------------------------------------


def _found(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise RuntimeError(f"this benchmark needs {program}: install Debian's nginx-light, curl, aria2 and openssl")
    return path


def _curl(urls: Sequence[str], *options: str) -> list[str]:
    outputs = [word for url in urls for word in ("-O", url)]
    return [_found("curl"), "-fsS", "--no-progress-meter", "-Z", "--parallel-max", str(JOBS), *options, *outputs]


def _aria2c(urls: Sequence[str], scratch: Path) -> list[str]:
    listed = scratch / "urls"
    listed.write_text("\n".join(urls))
    quiet = ("-q", "--file-allocation=none", "--auto-file-renaming=false", "--no-conf")
    return [_found("aria2c"), *quiet, f"-j{JOBS}", "-x1", "-i", str(listed)]


def _curl_and_sha256(urls: Sequence[str]) -> list[str]:
    """Fetch them all, then check them all: the cheapest way to both, for pipes cost more."""
    return ["/bin/sh", "-c", '"$@" && sha256sum * > sums', "sh", *_curl(urls)]


def _ours(url: str, *options: str) -> list[str]:
    urls = ("--api-url", f"{url}/api/", "--data-url", f"{url}/data/")
    return [sys.executable, "-m", "fsmcollect", "stream", "1", *urls, "--out", "here", "--json", *options]


def _trusting(certificate: Path, command: Sequence[str]) -> list[str]:
    return [_found("env"), f"SSL_CERT_FILE={certificate}", *command]


def _run(command: Sequence[str], out: Path) -> Spent:
    """Run it in an empty directory, which is removed behind it."""
    out.mkdir()
    try:
        return _run_for_output(command, out)[0]
    finally:
        shutil.rmtree(out)


def _run_for_output(command: Sequence[str], directory: Path | None = None) -> tuple[Spent, str]:
    with tempfile.TemporaryFile("w+") as said:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, cwd=directory)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        said.seek(0)
        output = said.read()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {output}")
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Spent(wall_s, cpu_s, usage.ru_maxrss / 1e3), output
