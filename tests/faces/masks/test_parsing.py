"""Face parsing: the real networks, saved with heads rigged so that the answer is known."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gpen.errors import FaceError, FilesError
from gpen.faces.folding import fold_batch_norm
from gpen.faces.masks.parsenet import TiledParseNet, parsenet_scores
from gpen.faces.masks.parsing import FaceParser, find_parser, make_parser
from gpen.images import tensors
from gpen.images.picture import FloatImage
from gpen.images.tensors import as_array, as_tensor
from tests import pretended

pytest.importorskip("facexlib")

FILES = {"parsenet": "parsing_parsenet.pth", "bisenet": "parsing_bisenet.pth"}
# The labels that count as face, from the two networks' documentation.
FACE = {
    "parsenet": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17},
    "bisenet": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17},
}


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "parsenet":
        from facexlib.parsing.parsenet import ParseNet

        return ParseNet(in_size=512, out_size=512, parsing_ch=19)
    from facexlib.parsing.bisenet import BiSeNet

    return BiSeNet(num_class=19)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder of random weights, with which label 0 wins everywhere."""
    folder = tmp_path_factory.mktemp("parsers")
    for name, file in FILES.items():
        torch.save(rigged(network(name), name, 0).state_dict(), folder / file)
    return folder


def rigged(made: torch.nn.Module, name: str, label: int) -> torch.nn.Module:
    with torch.no_grad():
        if name == "parsenet":
            made.out_mask_conv.conv2d.weight.zero_()
            made.out_mask_conv.conv2d.bias.zero_()
            made.out_mask_conv.conv2d.bias[label] = 1
        else:
            head = made.conv_out
            head.conv.bn.weight.zero_()
            head.conv.bn.bias.fill_(1)
            head.conv_out.weight.zero_()
            head.conv_out.weight[label] = 1
    return made


@pytest.fixture(scope="module")
def parsers(weights) -> dict[str, FaceParser]:
    return {name: FaceParser(name, weights / file) for name, file in FILES.items()}


def parse(parser: FaceParser, crop: FloatImage) -> FloatImage:
    return as_array(parser.parse(as_tensor(crop)))


@pytest.mark.parametrize("name", FILES)
def test_the_real_network_runs(parsers, name, tmp_path):
    crop = np.random.default_rng(0).random((512, 512, 3)).astype(np.float32)
    mask = parse(parsers[name], crop)
    assert mask.shape == (512, 512)
    assert mask.dtype == np.float32
    assert not mask.any()
    torch.save(rigged(network(name), name, 1).state_dict(), tmp_path / "face.pth")
    assert parse(FaceParser(name, tmp_path / "face.pth"), crop).all()


class Stub(torch.nn.Module):
    """Records its input; returns scores with which ``labels`` win."""

    def __init__(self, labels: torch.Tensor | None = None) -> None:
        super().__init__()
        self.labels = torch.zeros(512, 512, dtype=torch.long) if labels is None else labels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.given = x.clone()
        return torch.nn.functional.one_hot(self.labels, 19).permute(2, 0, 1)[None].float()


@pytest.fixture
def stubbed(parsers, monkeypatch):
    def make(name: str, labels: torch.Tensor | None = None) -> tuple[FaceParser, Stub]:
        stub = Stub(labels)
        monkeypatch.setattr(parsers[name], "network", stub)
        return parsers[name], stub

    return make


@pytest.mark.parametrize("name", FILES)
def test_the_labels_that_count_as_face(stubbed, name):
    labels = (torch.arange(512)[:, None] % 19).expand(512, 512)
    mask = parse(stubbed(name, labels)[0], np.zeros((512, 512, 3), np.float32))
    for label in range(19):
        assert (mask[label::19] == (label in FACE[name])).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("parsenet", (0.6, -0.2, -1.0)),
        ("bisenet", ((0.8 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, -0.406 / 0.225)),
    ],
)
def test_the_input_is_normalised(stubbed, name, expected):
    parser, stub = stubbed(name)
    crop = np.zeros((512, 512, 3), np.float32)
    crop[:] = (0.8, 0.4, 0.0)
    parse(parser, crop)
    assert stub.given.shape == (1, 3, 512, 512)
    assert stub.given.dtype == torch.float32
    assert np.allclose(stub.given[0].mean(dim=(1, 2)), expected, atol=1e-5)
    crop[0, 511] = 1
    parse(parser, crop)
    assert stub.given[0, 0, 0, 511] > stub.given[0, 0, 511, 0]


@pytest.mark.usefixtures("each_implementation")
@pytest.mark.parametrize("size", [64, 256, 640, 1024, 2048])
def test_crops_of_other_sizes(stubbed, size):
    parser, stub = stubbed("parsenet")
    ramp = (np.arange(size) + 0.5) / size
    crop = np.repeat(np.broadcast_to(ramp, (size, size))[:, :, None], 3, axis=2).astype(np.float32)
    assert parse(parser, crop).shape == (512, 512)
    inner = slice(20, -20)
    expected = 2 * (np.arange(512) + 0.5) / 512 - 1
    assert np.abs(stub.given[0, 0, 100].numpy() - expected)[inner].max() < 1.7e-3


@pytest.mark.parametrize("size", [256, 640, 1024])
def test_crops_are_resized_alike_on_every_device(stubbed, monkeypatch, size):
    parser, stub = stubbed("parsenet")
    crop = np.random.default_rng(0).random((size, size, 3)).astype(np.float32)
    parse(parser, crop)
    by_opencv = stub.given
    monkeypatch.setattr(tensors, "on_cpu", lambda picture: False)
    parse(parser, crop)
    assert (stub.given - by_opencv).abs().max() < 1e-5


def test_values_outside_the_range_are_clipped(stubbed):
    parser, stub = stubbed("parsenet")
    parse(parser, np.full((512, 512, 3), 7, np.float32))
    assert stub.given.max() == 1


def test_a_tie_is_not_a_face(parsers, monkeypatch):
    scores = torch.zeros(1, 19, 512, 512)
    monkeypatch.setattr(parsers["parsenet"], "network", lambda pictures: scores)
    assert not parse(parsers["parsenet"], np.zeros((512, 512, 3), np.float32)).any()
    scores[:, 1, 7] = 1e-6
    assert parse(parsers["parsenet"], np.zeros((512, 512, 3), np.float32))[7].all()


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.nn.Module]:
    """Random networks whose batch norm is far from the identity, and fits their maps, as training leaves it."""
    return {name: fitted(network(name)) for name in FILES}


def fitted(made: torch.nn.Module) -> torch.nn.Module:
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, 0, 0.3)
    with torch.no_grad():
        made(torch.cat([face_like(256), torch.rand(1, 3, 256, 256) * 2 - 1]))
    return made.eval().requires_grad_(False)


def face_like(size: int) -> torch.Tensor:
    """Smooth shapes with a little noise, -1 to 1."""
    coarse = torch.rand(1, 3, 12, 12) * 2 - 1
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    return (smooth + 0.02 * torch.randn(1, 3, size, size)).clamp(-1, 1)


@pytest.mark.parametrize("kind", ["face", "noise"])
@pytest.mark.parametrize("name", FILES)
def test_the_scores_are_those_of_the_published_network(trained, name, kind, tmp_path):
    """With batch norm folded and, for ParseNet, convolutions in tiles: no label changes."""
    torch.manual_seed(1)
    torch.save(trained[name].state_dict(), tmp_path / "weights.pth")
    picture = face_like(512) if kind == "face" else torch.rand(1, 3, 512, 512) * 2 - 1
    with torch.inference_mode():
        expected = trained[name](picture)[0]
        scores = FaceParser(name, tmp_path / "weights.pth").network(picture)
    assert 0.3 < expected.std() < 3
    assert len(expected.argmax(dim=1).unique()) > 5
    assert (scores - expected).abs().max() < 1e-4
    close = expected.topk(2, dim=1).values.diff(dim=1).abs() < 2e-4
    assert ((scores.argmax(dim=1, keepdim=True) == expected.argmax(dim=1, keepdim=True)) | close).all()
    assert close.float().mean() < 0.002


def test_parsenet_without_tiles_computes_the_same(trained):
    """As on other devices."""
    folded = copy.deepcopy(trained["parsenet"])
    fold_batch_norm(folded)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    picture = face_like(256)
    with torch.inference_mode():
        assert (parsenet_scores(folded, picture) - TiledParseNet(folded, 256)(picture)).abs().max() < 1e-4


def test_pictures_of_a_batch_and_repeated_calls_give_the_same_scores(trained):
    folded = copy.deepcopy(trained["parsenet"])
    fold_batch_norm(folded)
    tiled = TiledParseNet(folded, 128)
    pictures = torch.cat([face_like(128), face_like(128)])
    together = tiled(pictures)
    assert torch.equal(together, tiled(pictures))
    assert torch.equal(together[1:], tiled(pictures[1:]))


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("name", FILES)
def test_parsing_stays_on_the_device(monkeypatch, name, size):
    """On a pretended CUDA device: nothing is copied to or from the host, or waits for it."""
    monkeypatch.setattr("gpen.faces.facexlib.load_weights", lambda network, *_: network.eval().requires_grad_(False))
    with pretended.cuda():
        parser = FaceParser(name, Path("unread.pth"), "cuda")
        crop = torch.zeros(size, size, 3, device="cuda")
        with pretended.stays_on_the_device():
            mask = parser.parse(crop)
    assert mask.device.type == "cuda"
    assert mask.shape == (512, 512)


@pytest.mark.parametrize("shape", [(512, 512), (512, 512, 4), (512, 256, 3), (0, 0, 3)])
def test_other_shapes_are_refused(parsers, shape):
    with pytest.raises(FaceError, match="shape"):
        parse(parsers["parsenet"], np.zeros(shape, np.float32))


def test_parsenet_comes_before_bisenet(weights, tmp_path):
    assert make_parser([weights]).name == "parsenet"
    (tmp_path / FILES["bisenet"]).symlink_to(weights / FILES["bisenet"])
    assert make_parser([tmp_path]).name == "bisenet"
    assert find_parser([tmp_path]) == ("bisenet", tmp_path / FILES["bisenet"])


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FilesError) as raised:
        make_parser([tmp_path])
    for part in (*FILES.values(), str(tmp_path), "download"):
        assert part in str(raised.value)
    with pytest.raises(FilesError, match=re.escape(str(raised.value))):
        find_parser([tmp_path])


def test_weights_of_the_other_network_are_refused(weights):
    with pytest.raises(FaceError, match="does not hold the weights of BiSeNet"):
        FaceParser("bisenet", weights / FILES["parsenet"])


def test_a_missing_facexlib_is_named(weights, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "facexlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "facexlib", None)
    with pytest.raises(FaceError, match=r"facexlib cannot be used here \(ModuleNotFoundError"):
        make_parser([weights])
    with pytest.raises(FaceError, match=r"facexlib cannot be used here"):
        find_parser([weights])
