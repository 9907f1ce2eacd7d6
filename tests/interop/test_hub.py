"""Folders of the Hugging Face Hub: there and back bit for bit, without a network."""

import json
import subprocess
import sys

import pytest
import torch

import denseam
from denseam import DenseAM, interop
from denseam.errors import DataUnavailableError, FileFormatError, InputError

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Whatever reaches for the network fails."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", refuse)
    monkeypatch.setattr("denseam.interop.hub.hf_hub_download", refuse)


def some(power=3.5, dtype=torch.float32):
    from denseam.interop import HubDenseAM

    return HubDenseAM(20, 4, 30, power, 5.0, seed=1, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [1, 3.5, 100])
def test_everything_comes_back_bit_for_bit(power, dtype, tmp_path, capsys):
    model = some(power, dtype)
    model.temperature = 0.1 + 0.2
    model.save_pretrained(tmp_path / "new" / "folder")
    found = type(model).from_pretrained(tmp_path / "new" / "folder")
    assert type(found) is type(model)
    assert torch.equal(found.memories, model.memories)
    assert found.memories.dtype is dtype
    assert isinstance(found.memories, torch.nn.Parameter)
    assert found.memories.requires_grad
    assert (found.power, found.temperature) == (power, 0.1 + 0.2)
    assert (found.n_visible, found.n_classes, found.n_memories) == (20, 4, 30)
    assert not found.training
    visible = torch.rand(5, 20, dtype=dtype)
    assert torch.equal(found.log_energy(visible), model.log_energy(visible))
    assert capsys.readouterr() == ("", "")


def test_another_energy_and_a_front_come_back_too(tmp_path):
    from denseam.interop import HubDenseAM

    front = denseam.fronts.Table(6, 3, 2.0)
    F = denseam.energies.Exponential(0.5, 2.0)
    model = DenseAM(front.n_visible, 4, 30, temperature=5.0, energy=F, front=front, seed=1)
    HubDenseAM.of(model).save_pretrained(tmp_path)
    found = HubDenseAM.from_pretrained(tmp_path)
    assert (found.energy, found.power) == (F, torch.inf)
    rows = 10 * torch.rand(5, 6)
    assert torch.equal(found.log_energy(rows), model.log_energy(rows))
    assert "Exponential(beta=0.5, at=2.0)" in (tmp_path / "README.md").read_text()
    with pytest.raises(InputError, match="wanted a DenseAM, got ExponentialAM"):
        HubDenseAM.of(denseam.baselines.ExponentialAM(20, 4, 30, 3, 5.0))


def test_shipped_models_and_denseam_s_own_loader(tmp_path):
    from denseam.interop import HubDenseAM

    model = denseam.load_pretrained("mnist-n30")
    shared = HubDenseAM.of(model)
    assert shared.memories.data_ptr() == model.memories.data_ptr()
    shared.save_pretrained(str(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    for found in (HubDenseAM.from_pretrained(str(tmp_path)), denseam.load(tmp_path)):
        assert torch.equal(found.memories, model.memories)
        assert (found.power, found.temperature) == (model.power, model.temperature)


def test_of_takes_nothing_else():
    with pytest.raises(InputError, match="wanted a DenseAM, got ReLUNetwork"):
        type(some()).of(denseam.baselines.ReLUNetwork(4, 2, 3))


def test_config_is_what_the_model_is_now(tmp_path):
    model = some()
    model.temperature = 7.0
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "network": "dam", "power": 3.5, "temperature": 7.0, "n_visible": 20, "n_classes": 4,
        "n_memories": 30, "denseam": denseam.__version__,
    }  # fmt: skip


def test_the_card_has_the_library_tags_and_no_licence_of_its_own(tmp_path):
    some().save_pretrained(tmp_path)
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "denseam"
    assert card.data.license is None
    assert {"associative-memory", "energy-based-model"} <= set(card.data.tags)
    assert "n = 3.5" in card.text
    assert "30 memories, 20 pixels" in card.text
    assert "metric" not in card.text


def test_licence_and_metrics_are_those_given(tmp_path):
    model = some()
    given = {"license": "mit", "metrics": {"test error": "1.92 %", "seeds": 3}, "model_id": "a/b"}
    model.save_pretrained(tmp_path, model_card_kwargs=given)
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "mit"
    assert "| test error | 1.92 % |\n| seeds | 3 |\n" in card.text
    assert 'from_pretrained("a/b")' in card.text
    assert model._hub_mixin_info.model_card_data.license is None, "the class keeps nothing"


def test_a_card_that_is_there_stays(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    some().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_only_safetensors_are_read(tmp_path):
    model = some()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataUnavailableError, match=r"model\.safetensors"):
        type(model).from_pretrained(tmp_path)


def test_a_repository_is_asked_for_the_one_file(tmp_path, monkeypatch):
    model, asked = some(), []
    model.save_pretrained(tmp_path)

    def download(repo_id, filename, **options):
        asked.append((repo_id, filename, options.get("revision")))
        return str(tmp_path / filename)

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    monkeypatch.setattr("denseam.interop.hub.hf_hub_download", download)
    found = type(model).from_pretrained("someone/some-model", revision="v1")
    assert torch.equal(found.memories, model.memories)
    assert ("someone/some-model", "model.safetensors", "v1") in asked
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for _, name, _ in asked)


def test_settings_that_the_file_does_not_have_are_refused(tmp_path):
    model = some()
    model.save_pretrained(tmp_path)
    with pytest.raises(FileFormatError, match=r"has temperature 5\.0, not 6\.0"):
        type(model).from_pretrained(tmp_path, temperature=6.0)
    with pytest.raises(InputError, match=r"dtype = .*wanted only settings"):
        type(model).from_pretrained(tmp_path, dtype=torch.float64)
    assert type(model).from_pretrained(tmp_path, temperature=5.0).temperature == 5
    assert type(model).from_pretrained(tmp_path, map_location="cpu").power == 3.5


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (denseam.baselines.ReLUNetwork(20, 4, 30), "kind 'relu', wanted 'dam'"),
        (denseam.baselines.Binarised(DenseAM(20, 4, 30, 3, 5.0)), "kind 'binarised'"),
    ],
)
def test_folders_of_other_networks_are_refused(network, message, tmp_path):
    network.save(tmp_path / "model.safetensors")
    with pytest.raises(FileFormatError, match=message):
        type(some()).from_pretrained(tmp_path)


def test_neither_library_is_imported_and_without_one_it_says_what_to_install():
    code = (
        "import sys, denseam.interop\n"
        "print({'onnx', 'huggingface_hub'} & set(sys.modules))\n"
        "sys.modules['huggingface_hub'] = None\n"
        "try: denseam.interop.HubDenseAM\n"
        "except denseam.errors.MissingPackageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "set()\ndenseam.interop.HubDenseAM needs huggingface_hub: pip install 'denseam[hub]'\n"
    )


def test_interop_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = interop.other
