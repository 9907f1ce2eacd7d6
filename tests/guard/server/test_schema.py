"""The OpenAPI document: whatever a client makes of it, the answer is one that it describes."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

from .serving import eventually

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_described(server, mode):
    """Driven here: the plugin of schemathesis does not know pytest 9."""
    # So that there is something to list.
    server.infer([[[255] * 28] * 28], parameters={"source": "test"})
    eventually(lambda: server.ask("GET", "/quarantine").json["total"])
    document = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 11
    some = st.sampled_from(operations).flatmap(lambda each: each.as_strategy(generation_mode=mode))

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(case=some)
    def answered(case):
        case.call_and_validate(checks=CHECKS)

    answered()
