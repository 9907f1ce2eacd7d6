"""Who may ask."""

import pytest

from denseam.errors import DataUnavailableError, InputError
from denseam.guard.server.access import Access, read_keys
from denseam.guard.server.refusals import RefusedError

KEYS = "# two of them\nfirst 0123456789abcdef\n\nsecond  fedcba9876543210\n"


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "keys").write_text(KEYS)
    return read_keys(tmp_path / "keys")


def test_a_key_is_known_by_its_name_and_kept_as_a_digest(keys):
    assert list(keys) == ["first", "second"]
    assert all(len(digest) == 32 for digest in keys.values())
    access = Access(keys, called=None)
    assert access.key_name({"authorization": "Bearer fedcba9876543210"}) == "second"
    assert access.key_name({"authorization": "bearer  0123456789abcdef "}) == "first"
    assert Access({}, called=None).key_name({}) is None


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer é" * 9]
)
def test_anything_else_is_refused(keys, given):
    with pytest.raises(RefusedError) as caught:
        Access(keys, called=None).key_name({"authorization": given})
    assert caught.value.status == 401


@pytest.mark.parametrize("text", ["", "# none\n", "short key\n", "nameless0123456789abcdef\n",
                                  "a 0123456789abcdef\na 0123456789abcdee\n",
                                  "a 0123456789abc ef\n"])  # fmt: skip
def test_a_file_without_keys_is_refused_and_shows_none(tmp_path, text):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(InputError) as caught:
        read_keys(tmp_path / "keys")
    assert "0123456789" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(DataUnavailableError):
        read_keys(tmp_path / "none")


@pytest.mark.parametrize(
    ("host", "fine"),
    [("localhost:80", True), ("127.0.0.1", True), ("[::1]:8", True), ("LOCALHOST", True),
     ("evil.example", False), ("localhost.evil.example", False), ("", False)],
)  # fmt: skip
def test_on_loopback_the_server_has_three_names(host, fine):
    access = Access({}, called="127.0.0.1")
    if fine:
        access.check_place({"host": host})
        return
    with pytest.raises(RefusedError) as caught:
        access.check_place({"host": host})
    assert caught.value.status == 403
    Access({}, called=None).check_place({"host": host})


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:81"])
def test_pages_of_others_are_refused(origin):
    access = Access({}, called="127.0.0.1")
    access.check_place({"host": "localhost:80", "origin": "http://localhost:80"})
    with pytest.raises(RefusedError):
        access.check_place({"host": "localhost:80", "origin": origin})


def test_the_name_that_is_listened_on_is_the_server_s():
    access = Access({}, called="127.0.0.2")
    for host in ("127.0.0.2:80", "localhost"):
        access.check_place({"host": host, "origin": f"http://{host}"})
    with pytest.raises(RefusedError, match=r"127\.0\.0\.2"):
        access.check_place({"host": "127.0.0.3"})


@pytest.mark.parametrize("called", ["127.0.0.1", None])
@pytest.mark.parametrize("host", ["guard.example", "127.0.0.1:8080", "Guard.Example:443"])
def test_a_proxy_is_allowed_by_its_name_whatever_it_does_with_the_host(called, host):
    access = Access({}, called=called, allowed=["Guard.example"])
    access.check_place({"host": host})
    access.check_place({"host": host, "origin": "https://guard.example"})
    for origin in ("https://evil.example", "https://guard.example:8443", "null"):
        with pytest.raises(RefusedError):
            access.check_place({"host": host, "origin": origin})


def test_a_port_belongs_to_the_name_of_a_page():
    access = Access({}, called="127.0.0.1", allowed=["guard.example:8443"])
    access.check_place({"host": "guard.example:8443", "origin": "https://guard.example:8443"})
    with pytest.raises(RefusedError):
        access.check_place({"host": "127.0.0.1", "origin": "https://guard.example"})
