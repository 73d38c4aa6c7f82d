"""Downloads published models: resumable, verified, and under the final name only once complete."""

from __future__ import annotations

import codecs
import errno
import functools
import hashlib
import re
import shutil
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ..errors import FilesError
from .catalog import Published
from .partial_download import Origin, Part, claim, write

Progress = Callable[[int, int | None], None]
"""Receives the bytes on disk so far and the bytes of the whole file, or None if unknown."""

_CHUNK = 1 << 16
_HEAD = 512
ATTEMPTS = 4
MAX_BYTES = 2 << 30
"""Far more than any published file: a server that announces no length must not fill the disk."""
_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}


def fetch(
    published: Published,
    folder: Path,
    *,
    on_progress: Progress | None = None,
    opener: urllib.request.OpenerDirector | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download a published file into ``folder`` and return its path, ``folder / published.saved_as``.

    The addresses are tried in order until one returns a file of the right length, size and SHA256, as far as these are
    known. An interrupted download leaves ``<saved_as>.part`` and a note beside it, and the next call requests only the
    rest. An existing file of the final name is replaced at the end, and a failure leaves it untouched.

    on_progress: receives the bytes on disk so far, including resumed ones, and the bytes of the whole file or None;
    its exceptions are passed on. timeout: seconds without an answer or any data.
    FilesError gives the reason for every address, and says where to put the file if downloaded in another way.
    """
    folder = Path(folder)
    target = folder / published.saved_as
    failures = []
    with _on_disk(published, folder):
        folder.mkdir(parents=True, exist_ok=True)
    with claim(folder, published.saved_as) as part:
        transfer = _Transfer(published, folder, part, opener or _opener(), timeout, on_progress)
        for address in published.addresses:
            try:
                transfer.run(address)
            except _AddressError as error:
                failures.append(f"  {address}: {error}.")
                continue
            with _on_disk(published, folder):
                part.finish(target)
            return target
    lines = [f"{published.name} could not be downloaded."]
    lines += ["Tried:", *failures] if failures else ["No address is known for it."]
    lines.append(
        "You can also get the file in another way, such as in a browser or on another computer, and save it as "
        f"{published.saved_as} in {folder}"
    )
    raise FilesError("\n".join(lines))


class _AddressError(Exception):
    """An address returned no file. The text continues "ADDRESS: " and has no full stop."""


class _CutError(_AddressError):
    """The transfer broke off after it had begun: requesting the rest may help."""


class _StaleError(_AddressError):
    """The part on disk cannot be continued: requesting the whole file may help."""


@dataclass
class _Transfer:
    published: Published
    folder: Path
    part: Part
    opener: urllib.request.OpenerDirector
    timeout: float
    on_progress: Progress | None

    def run(self, address: str) -> None:
        """Fill the part from ``address`` and verify it; _AddressError says why that failed."""
        _check_scheme(address, "it is")
        for attempt in range(1, ATTEMPTS + 1):
            before = self.part.size()
            try:
                self._check(resumed=self._request(address))
                return
            except _StaleError:
                self.part.discard()
                if attempt == ATTEMPTS:
                    raise
            except _CutError:
                if attempt == ATTEMPTS or self.part.size() <= before or self._origin(address) is None:
                    raise

    def _origin(self, address: str) -> Origin | None:
        """The origin of the part if it can be continued from this address, else None."""
        origin = self.part.origin()
        if origin is None or origin.address != address or origin.validator is None:
            return None
        return origin if self.part.size() > 0 else None

    def _request(self, address: str) -> bool:
        """Transfer what is missing; return whether an existing part was continued."""
        origin = self._origin(address)
        offset = self.part.size() if origin else 0
        request = urllib.request.Request(address, headers={"User-Agent": "gpen-face-restore"})
        if origin is not None and origin.validator is not None:
            if offset == origin.total:
                self._report(offset, origin.total)
                return True
            request.add_header("Range", f"bytes={offset}-")
            request.add_header("If-Range", origin.validator)
        with self._open(request, resuming=origin is not None) as response:
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise _AddressError("the server compresses the file although it was asked not to")
            if response.status == HTTPStatus.PARTIAL_CONTENT and origin is not None:
                self._check_continues(response.headers, origin, offset)
                self._receive(response, offset, origin.total, b"")
                return True
            if response.status != HTTPStatus.OK:
                raise _AddressError(f"the server answered {response.status} ({response.reason})")
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            self._check_size(total)
            head = self._read(response, _HEAD)
            _refuse_text(head)
            with self._on_disk():
                self.part.begin(Origin(address, _validator(response.headers), total))
            self._receive(response, 0, total, head)
            return False

    def _open(self, request: urllib.request.Request, *, resuming: bool) -> HTTPResponse:
        try:
            response: HTTPResponse = self.opener.open(request, timeout=self.timeout)
            return response
        except HTTPError as error:
            error.close()
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and resuming:
                raise _StaleError("the server cannot continue the download") from error
            raise _AddressError(f"the server answered {error.code} ({_one_line(error.reason)})") from error
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _AddressError(f"no answer within {self.timeout:g} seconds") from error
            secure = "secure " if isinstance(reason, ssl.SSLError) else ""
            raise _AddressError(f"no {secure}connection ({_one_line(reason)})") from error

    def _check_continues(self, headers: HTTPMessage, origin: Origin, offset: int) -> None:
        """_StaleError unless the answer is the rest of the same file that the part belongs to."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
        strong = origin.validator is not None and origin.validator.startswith('"')
        validator = headers.get("ETag" if strong else "Last-Modified", origin.validator)
        if (
            found is None
            or int(found[1]) != offset
            or found[2] not in ("*", str(origin.total))
            or validator != origin.validator
        ):
            raise _StaleError("the server's answer does not continue the part on disk")

    def _receive(self, response: HTTPResponse, done: int, total: int | None, data: bytes) -> None:
        """Append the body to the part. ``done``: bytes in the part; ``data``: the beginning of the body."""
        self._check_room(done, total)
        with self._on_disk():
            file = self.part.append()
        try:
            self._report(done, total)
            while data or (data := self._read(response, _CHUNK)):
                with self._on_disk():
                    write(file, data)
                done += len(data)
                data = b""
                if done > (MAX_BYTES if total is None else total):
                    self.part.discard()
                    raise _AddressError("the server sends more bytes than the file has")
                self._report(done, total)
        finally:
            with suppress(OSError):  # the size shows what a failed close lost
                file.close()
        if total is not None and done < total:
            raise _CutError(f"the connection broke off after {done:,} of {total:,} bytes")

    def _read(self, response: HTTPResponse, count: int) -> bytes:
        try:
            return response.read(count)
        except TimeoutError as error:
            raise _CutError(f"no data for {self.timeout:g} seconds") from error
        except (OSError, HTTPException) as error:
            raise _CutError(f"the connection broke off ({_one_line(error)})") from error

    def _check_size(self, size: int | None) -> None:
        expected = self.published.size
        if None not in (size, expected) and size != expected:
            raise _AddressError(f"it returns {size:,} bytes, but the published file has {expected:,}")

    def _check(self, *, resumed: bool) -> None:
        """Compare the part's size and SHA256 with the published ones; remove a part that differs."""
        try:
            self._check_size(self.part.size())
            if self.published.sha256 is not None:
                with self._on_disk():
                    found = sha256_of(self.part.path)
                if found != self.published.sha256:
                    raise _AddressError(
                        f"it returns a damaged or different file (SHA256 {found}, published {self.published.sha256})"
                    )
        except _AddressError as error:
            self.part.discard()
            raise _StaleError(str(error)) if resumed else error from None

    def _check_room(self, done: int, total: int | None) -> None:
        missing = (total or 0) - done
        with suppress(OSError):
            if shutil.disk_usage(self.folder).free < missing:
                raise _full(self.published, self.folder, missing)

    def _report(self, done: int, total: int | None) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        with _on_disk(self.published, self.folder):
            yield


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check_scheme(newurl, "it redirects to")
        except _AddressError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def sha256_of(path: Path) -> str:
    """SHA256 of a file, 64 lower-case hex digits. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


FileVersion = tuple[int, int]
"""When a file was last changed, in nanoseconds, and its bytes: they differ where its content does."""


def file_version(path: Path) -> FileVersion | None:
    """The version of a file; None if there is none, or it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def cached_sha256(path: Path) -> str:
    """As :func:`sha256_of`, of a file that is read again only when it has changed. Raises OSError."""
    status = path.stat()
    return _sha256(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, changed_ns: int, size: int) -> str:
    return sha256_of(path)


def _opener() -> urllib.request.OpenerDirector:
    # urllib's default opener also reads ftp:, file: and data: addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _check_scheme(address: str, verb: str) -> None:
    if urlsplit(address).scheme.lower() not in ("http", "https"):
        raise _AddressError(f"{verb} an address that is neither http nor https ({_one_line(address)})")


def _validator(headers: HTTPMessage) -> str | None:
    etag = headers.get("ETag")
    # A weak ETag (W/"…") does not promise equal bytes and must not be used to continue a file.
    return etag if etag and etag.startswith('"') else headers.get("Last-Modified")


def _refuse_text(head: bytes) -> None:
    """_AddressError for a body that begins like a page or a message: a model is never plain text."""
    if not head:
        raise _AddressError("it returns an empty file")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
        is_text = all(character.isprintable() or character.isspace() for character in text)
    except UnicodeDecodeError:
        text, is_text = head.decode("latin-1"), False
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        what = "an HTML page"
    elif start.startswith(b"version https://git-lfs.github.com/spec/"):
        what = "a Git LFS pointer, which only names the file,"
    elif not is_text:
        return
    else:
        what = {b"<": "an XML message", b"{": "a JSON message", b"[": "a JSON message"}.get(start[:1], "a text")
    raise _AddressError(f'it returns {what} instead of the file: "{_one_line(text)}"')


@contextmanager
def _on_disk(published: Published, folder: Path) -> Iterator[None]:
    """Turn an OSError of the disk into a FilesError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _full(published, folder, published.size) from error
        raise FilesError(
            f"{published.name} cannot be saved in {folder}: {error.strerror or error}. "
            "Make that folder writable, or choose another one."
        ) from error


def _full(published: Published, folder: Path, missing: int | None) -> FilesError:
    needs = f"needs {max(missing / 1e6, 0.1):,.1f} MB" if missing else "does not fit"
    return FilesError(f"The disk of {folder} is full: {published.name} {needs}. Free some space and try again.")


def _one_line(text: object) -> str:
    line = "".join(c if c.isprintable() else " " for c in str(text))
    line = " ".join(line.split())
    return line if len(line) <= 100 else f"{line[:99]}…"
