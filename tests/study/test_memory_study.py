"""The study of memories: small stages, its claims, and where `reproduce --study` finds it."""

import json

import pytest
import torch

from denseam import data
from denseam.errors import InputError
from denseam.study import PROGRAMMES, Plan, Study, all_stages, of_package, programme_of, reproduce
from denseam.study.memory import CLAIMS, MemoryPlan, plan


class Silent:
    def on_start(self, *_): ...
    def on_progress(self, *_): ...
    def on_end(self, *_): ...


@pytest.fixture(scope="module")
def study():
    images = data.load("mnist")
    models = tuple(of_package())
    out = "results-memory-quick"
    return Study(models, images, "mnist", Plan.smaller(), out, (), None, "memory")


def test_every_claim_is_about_rows_of_a_stage(study):
    stages = [stage.name for stage in programme_of(study).stages(study)]
    prefixes = {*(name.split("-n")[0] for name in stages), *stages, "spurious"}
    for claim in CLAIMS:
        for id_ in (*claim.rows, *claim.beside):
            assert id_.split("/")[0] in prefixes, id_
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) >= 10


def test_studies_have_their_commands(study):
    assert study.whole.startswith("denseam reproduce --quick --study memory")
    paper = Study((), study.images, "mnist", Plan())
    assert [s.name for s in programme_of(paper).stages(paper)] == [
        s.name for s in all_stages(paper)
    ]
    assert set(PROGRAMMES) >= {"paper", "memory"}
    other = Study((), study.images, "mnist", Plan(), programme="nothing")
    with pytest.raises(InputError, match="nothing"):
        programme_of(other)


def test_stages_that_retrieve_reproduce_their_claims(study, tmp_path, monkeypatch):
    small = {"quick": True, "digits": 300, "probes": 20, "bits": 2000, "states": 20}
    monkeypatch.setattr(MemoryPlan, "smaller", classmethod(lambda cls: cls(**small)))
    monkeypatch.setattr(plan.MemoryPlan, "neurons", lambda self, n: (24, 40))
    torch.set_num_threads(1)
    done = reproduce(study, tmp_path, Silent(), ["xor", "log-sum-relu", "halves", "editing"])
    results = json.loads((tmp_path / "results.json").read_text())
    verdicts = {claim["id"]: claim["verdict"] for claim in results["claims"]}
    for name in ("xor", "log-sum-relu", "halves", "editing"):
        assert verdicts[name] == "reproduced", name
    assert verdicts["classical"] == "cannot be compared"
    assert results["title"] == PROGRAMMES["memory"].title
    assert results["plan"]["digits"] == 300
    assert (done.out / "figures" / "halves.png").exists()
