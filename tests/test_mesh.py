"""One process and its environment: what is the user's mistake, and what is left behind."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest
import torch

from denseam import mesh
from denseam.classifier import check_device
from denseam.errors import InputError, LostRankError
from denseam.mesh import Axis, Mesh


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def launch(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    plain = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in {**plain, **variables}.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MASTER_PORT", "bad"), ("MASTER_PORT", "70000"), ("MASTER_PORT", ""), ("MASTER_ADDR", ""),
        ("WORLD_SIZE", "two"), ("WORLD_SIZE", "0"), ("RANK", "x"), ("RANK", "2"), ("RANK", "-1"),
    ],
)  # fmt: skip
def test_a_bad_variable_is_the_user_s_mistake(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    launch(monkeypatch, **{name: value})
    with pytest.raises(InputError, match=rf"^{name}\b.*wanted"), mesh.start():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_bad_local_rank_too(monkeypatch: pytest.MonkeyPatch) -> None:
    launch(monkeypatch, LOCAL_RANK="first")
    with pytest.raises(InputError, match="LOCAL_RANK = 'first'"):
        mesh.own_device("cuda")


def test_after_a_job_that_could_not_start_sigterm_is_what_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as taken:  # rank 0 wants to listen where somebody does
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        launch(monkeypatch, MASTER_PORT=str(taken.getsockname()[1]))
        with pytest.raises(LostRankError, match="cannot be reached"), mesh.start():
            pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_while_a_mesh_lasts_what_went_wrong_is_said_first() -> None:
    with pytest.raises(LostRankError, match="lost"), mesh._sigterm_as_error():  # noqa: PT012
        with pytest.raises(LostRankError, match="told to stop"):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        with mesh._talking():
            raise RuntimeError("lost")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_the_user_is_not_taken_away() -> None:
    with pytest.raises(LostRankError, match=r"\(lost\)"), mesh._talking():
        raise RuntimeError("lost")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_without_words_has_its_name() -> None:
    with pytest.raises(LostRankError, match=r"\(RuntimeError\)"), mesh._talking():
        raise RuntimeError


def test_a_device_that_fails_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(torch, "zeros", fail)
    with pytest.raises(InputError, match="cannot be used here: AssertionError"):
        check_device("cpu")


def test_a_device_without_numbers() -> None:
    with pytest.raises(InputError, match="device meta cannot be used here"):
        check_device("meta")


def test_what_is_gathered_is_on_the_cpu() -> None:
    part = torch.ones(3, 2, device="meta")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "cpu", lambda _: "on the CPU")
        assert Mesh().gather(part, 3) == "on the CPU"
    assert Mesh(data=Axis("data", 1, 2)).gather(part, 3) is None
