"""`gpen app --listen`: other computers need the password, for everything."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gpen.app.access import password as passwords
from gpen.app.access.password import Login, made_password, read_password
from gpen.app.access.reach import Reach, names_of_this_computer
from gpen.cli import app as commands
from gpen.cli import main
from gpen.errors import GpenError
from tests.app.conftest import Serve, Served
from tests.app.page import AppPage
from tests.app.test_gate import answer

SECRET = "correct horse"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ROUTES = [
    ("GET", "/config"),
    ("GET", "/theme.css"),
    ("GET", "/assets/index.js"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/startup-events"),
    ("GET", "/gradio_api/heartbeat/abc"),
    ("GET", "/gradio_api/queue/data?session_hash=abc"),
    ("GET", "/gradio_api/file=/etc/hostname"),
    ("GET", "/gradio_api/login_check"),
    ("GET", "/login_check"),
    ("GET", "/token"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/call/networks"),
    ("POST", "/gradio_api/run/networks"),
    ("OPTIONS", "/gradio_api/upload"),
    ("POST", "/login/more"),
    ("GET", "//config"),
    ("GET", "/../config"),
]


class Behind:
    """An application that answers everything, and counts."""

    def __init__(self) -> None:
        self.reached = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})


Ask = Callable[..., tuple[int, dict[str, str]]]


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def ask(behind: Behind) -> Ask:
    """The status of an answer, and its headers. body: what is sent to the login."""
    login = Login(behind, SECRET, 7860)

    def call(path: str = "/", *, body: str = "", cookie: str = "", client: str = "10.0.0.1", kind: str = "http") -> Any:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body.encode(), "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"cookie", cookie.encode())] if cookie else []
        scope = {"type": kind, "method": "POST" if body else "GET", "path": path, "headers": headers}
        scope["client"] = (client, 1)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(lambda: asyncio.run(login(scope, receive, send))).result()
        if sent[0]["type"] == "websocket.close":
            return 403, {}
        return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}

    return call


def cookie_of(headers: dict[str, str]) -> str:
    return headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("cookie", ["", "gpen-7860=", "gpen-7860=x", "gpen-7861={token}", "other={token}", "{token}"])
def test_only_the_cookie_opens(ask: Ask, behind: Behind, kind: str, cookie: str) -> None:
    token = cookie_of(ask("/login", body=f"password={SECRET}")[1]).partition("=")[2]
    assert ask("/config", cookie=cookie.format(token=token), kind=kind)[0] in (401, 403)
    assert behind.reached == 0
    assert ask("/config", cookie=f"a=b; gpen-7860={token}; c=d", kind=kind)[0] == 200


def test_the_cookie_is_kept_from_scripts_and_other_sites(ask: Ask) -> None:
    status, headers = ask("/login", body="username=anything&password=correct+horse")
    assert status == 200
    assert headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "body",
    ["password=", "password=correct horsE", "username=correct horse", "nothing", f"password={SECRET}{'x' * 5000}"],
)
def test_a_wrong_password_opens_nothing(ask: Ask, body: str) -> None:
    status, headers = ask("/login", body=body)
    assert status == 401
    assert "set-cookie" not in headers


def test_wrong_passwords_are_counted_by_address(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(passwords.time, "monotonic", lambda: now[0])
    right, wrong = f"password={SECRET}", "password=guess"
    cookie = cookie_of(ask("/login", body=right)[1])
    assert [ask("/login", body=wrong)[0] for _ in range(12)] == [401] * 10 + [429] * 2
    # Not even the right one is looked at, but who is in stays in, and others may come.
    assert ask("/login", body=right)[0] == 429
    assert ask("/", cookie=cookie)[0] == 200
    assert ask("/login", body=right, client="10.0.0.2")[0] == 200
    now[0] += 60
    assert ask("/login", body=right)[0] == 200
    for number in range(100):
        assert ask("/login", body=wrong, client=f"10.1.0.{number}")[0] == 401
    assert ask("/login", body=right, client="10.0.0.2")[0] == 429


def test_the_password_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_password(None) is None
    monkeypatch.setenv("GPEN_APP_PASSWORD", "from the environment")
    file = tmp_path / "password.txt"
    file.write_text("from the file\n")
    assert read_password(file) == "from the file"
    assert "GPEN_APP_PASSWORD" not in os.environ
    monkeypatch.setenv("GPEN_APP_PASSWORD", "from the environment")
    assert read_password(None) == "from the environment"
    for text, problem in (("short\n", "at least 8"), ("two lines\nof text\n", "one line"), ("", "at least 8")):
        file.write_text(text)
        with pytest.raises(GpenError, match=problem):
            read_password(file)
    file.write_bytes(b"\xff\xfe\xff\xfe")
    with pytest.raises(GpenError, match="holds no text"):
        read_password(file)
    with pytest.raises(GpenError, match=r"nothing\.txt: No such file"):
        read_password(tmp_path / "nothing.txt")


def test_passwords_that_are_made_differ_and_can_be_typed() -> None:
    made = {made_password() for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"([a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4}", each) for each in made)


@pytest.mark.parametrize("address", ["999", "example.org", "192.168.1", "http://127.0.0.1"])
def test_what_is_no_address_is_refused(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["app", "--listen", address])
    assert "has to be an IP address" in capsys.readouterr().err


def test_an_address_of_another_computer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", "--listen", "203.0.113.5"]) == 1
    assert "does not have the address 203.0.113.5" in capsys.readouterr().err


def test_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\n" not in Reach().told(7860, "cpu")
    lines = Reach("0.0.0.0", password="abcd-efgh", is_made=True).told(7860, "cpu").splitlines()
    assert lines[0] == "The page is at http://127.0.0.1:7860 (device: cpu). Press Ctrl+C to stop."
    assert "The password is abcd-efgh" in lines
    assert "not encrypted" in lines[-1]
    assert SECRET not in Reach("0.0.0.0", password=SECRET).told(7860, "cpu")
    assert Reach("::1", password=SECRET).addresses(80) == ["http://[::1]:80"]


@pytest.mark.parametrize(
    ("arguments", "given", "address", "has_password"),
    [
        ([], None, "127.0.0.1", False),
        ([], SECRET, "127.0.0.1", True),
        (["--listen"], SECRET, "0.0.0.0", True),
        (["--listen"], None, "0.0.0.0", True),
        (["--listen", "127.0.0.1"], None, "127.0.0.1", True),
    ],
)
def test_it_never_listens_without_a_password(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], given: str | None, address: str, has_password: bool
) -> None:
    served: list[Reach] = []
    monkeypatch.setattr(commands, "serve", lambda reach, **_: served.append(reach) or 0)
    if given:
        monkeypatch.setenv("GPEN_APP_PASSWORD", given)
    assert main(["app", *arguments]) == 0
    (reach,) = served
    assert (reach.address, reach.password is not None) == (address, has_password)
    assert given is None or reach.password == given
    assert reach.is_made == (has_password and given is None)


@pytest.fixture(scope="module")
def listening(serve_session: Serve, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    file = tmp_path_factory.mktemp("secret") / "password.txt"
    file.write_text(f"{SECRET}\n")
    return serve_session("--listen", "--password-file", file, "--models-path", weights, "--device", "cpu")


@pytest.fixture(scope="module")
def cookie(listening: Served) -> str:
    response, _ = answer(listening.url, "/login", FORM, "POST", f"password={SECRET}".encode())
    assert response.status == 200
    return str(response.getheader("Set-Cookie")).partition(";")[0]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_needs_the_password(listening: Served, cookie: str, method: str, path: str) -> None:
    body = b"{}" if method == "POST" else None
    response, said = answer(listening.url, path, {"Content-Type": "application/json"}, method, body)
    assert response.status == 401
    assert said == b"The password is needed: open the page itself, and give it there."
    assert answer(listening.url, "/", {})[0].status == 401
    for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert answer(listening.url, path, {"Cookie": cookie, **foreign}, method, body)[0].status == 403


def test_it_is_reached_by_this_computers_names_and_addresses(listening: Served, cookie: str) -> None:
    port = urlsplit(listening.url).port
    hosts = [f"{name}:{port}" for name in (*names_of_this_computer(), "localhost", "127.0.0.1")]
    for host in hosts:
        assert answer(listening.url, "/config", {"Host": host, "Cookie": cookie})[0].status == 200
    for url in Reach("0.0.0.0").addresses(port):
        assert answer(url, "/config", {"Cookie": cookie})[0].status == 200
        assert answer(url, "/config", {})[0].status == 401
        assert url in listening.log
    assert SECRET not in listening.log
    assert "not encrypted" in listening.log


def test_in_ipv6_too(serve_session: Serve, tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        pytest.skip("needs IPv6")
    served = serve_session("--listen", "::", "--models-path", tmp_path, "--device", "cpu")
    made = re.search(r"The password is (\S+)", served.log)[1]
    response, _ = answer(served.url, "/login", FORM, "POST", f"password={made}".encode())
    assert response.status == 200
    given = {"Cookie": str(response.getheader("Set-Cookie")).partition(";")[0]}
    assert answer(served.url, "/config", given)[0].status == 200
    assert answer(served.url, "/config", {})[0].status == 401


def test_programs_give_the_password(listening: Served, portrait: Path, tmp_path: Path) -> None:
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AuthenticationError

    with pytest.raises(AuthenticationError):
        Client(listening.url, auth=("gpen", "wrong"), verbose=False)
    client = Client(listening.url, auth=("gpen", SECRET), verbose=False, download_files=str(tmp_path))
    try:
        result, text = client.predict(photo=handle_file(portrait), weights="small.pth", api_name="/restore")
    finally:
        client.close()
    assert text == "5 faces restored."
    assert Path(result).stat().st_size > 0


def test_the_page_asks_for_the_password(
    listening: Served, browser: Any, portrait: Path, tmp_path: Path, screenshots: Path
) -> None:
    window = browser.new_page(viewport={"width": 390, "height": 700})
    window.goto(listening.url)
    assert window.get_by_label("Password").evaluate("box => box === document.activeElement")
    window.screenshot(path=screenshots / "password.png")
    window.keyboard.type("wrong")
    window.keyboard.press("Enter")
    window.get_by_role("alert").get_by_text("That is not the password.").wait_for()
    window.close()
    page = AppPage(browser, listening.url, SECRET)
    try:
        assert "on the computer that runs this page" in page.window.locator("#gpen-about").inner_text()
        page.restore(portrait, "small.pth")
        assert page.download(tmp_path).stat().st_size > 0
        assert page.errors == []
    finally:
        page.close()
