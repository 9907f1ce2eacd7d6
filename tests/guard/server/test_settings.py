"""Settings that cannot be are refused when they are put together."""

import json
import math

import numpy as np
import pytest

from denseam.errors import InputError
from denseam.guard.server import Settings


def test_they_survive_json():
    made = Settings(port=1, database=None, max_wait=0.5, allowed_hosts=["guard.example:8443"])
    assert Settings.from_json(json.loads(json.dumps(made.to_json()))) == made
    with pytest.raises(InputError, match="colour"):
        Settings.from_json({"colour": 1})


@pytest.mark.parametrize(
    "wrong",
    [{"name": "a/b"}, {"name": ""}, {"port": -1}, {"port": 65536}, {"max_batch": 0},
     {"queue": 255}, {"max_wait": float("nan")}, {"deadline": 0}, {"receive_seconds": -1},
     {"threads": 0}, {"max_body": 10}, {"max_bodies": 1 << 20}, {"shutdown_seconds": 0},
     {"max_connections": 0}, {"retention_days": -1}, {"spool_bytes": -1},
     {"retention_days": 1e6}, {"retention_count": 10**20}, {"max_wait": math.inf},
     {"deadline": math.inf}, {"receive_seconds": math.inf}, {"workers": 10**6},
     {"threads": 10**6}, {"max_bodies": 2**50}, {"shutdown_seconds": 10**9},
     {"allowed_hosts": "guard.example"}, {"allowed_hosts": ["https://guard.example"]},
     {"workers": True}, {"queue": 1024.5}, {"allowed_hosts": ["*"]}, {"allowed_hosts": [""]}],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)


def test_numbers_of_numpy_are_plain_numbers():
    settings = Settings(port=np.int64(8000), max_wait=np.float32(0.5), retention_days=7)
    assert json.dumps(settings.to_json())
    assert (settings.port, settings.max_wait, settings.retention_days) == (8000, 0.5, 7.0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "server.example"])
def test_beyond_loopback_keys_are_wanted(host):
    with pytest.raises(InputError, match=r"API key file \(--api-key-file\), or --allow-anonymous"):
        Settings(host=host)
    assert not Settings(host=host, api_key_file="keys").loopback
    assert not Settings(host=host, allow_anonymous=True).loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(host):
    assert Settings(host=host).loopback
