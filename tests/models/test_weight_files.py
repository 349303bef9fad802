"""Weight files: read whatever their suffix, never run; foreign, broken and hostile ones get one clear line."""

import argparse
import io
import os
import pickle
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from vasomim.errors import CheckpointError, MisuseError, VasomimError
from vasomim.models.registry import create_model
from vasomim.models.weight_files import (
    container_of,
    find_weights,
    read_json_beside,
    read_licence,
    read_metadata,
    read_state_dict,
)
from vasomim.models.weights import load_encoder


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.safetensors", "a.bin"])
def test_read_state_dict__formats_are_told_by_content_not_by_suffix(tmp_path, name):
    state = create_model("vit_test", img_size=32).state_dict()
    torch.save(state, tmp_path / name)
    assert all(torch.equal(v, state[k]) for k, v in read_state_dict(tmp_path / name).items())
    save_file(state, tmp_path / name)
    assert set(read_state_dict(tmp_path / name)) == set(state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": s, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        lambda s: {"state_dict": s},
        lambda s: {"model": {"state_dict": s}, "optimizer": {"param_groups": []}},
        lambda s: {**s, "step": 7},
    ],
)
def test_read_state_dict__unwraps_checkpoints(tmp_path, wrap):
    state = create_model("vit_test", img_size=32).state_dict()
    torch.save(wrap(state), tmp_path / "a.pth")
    assert set(read_state_dict(tmp_path / "a.pth")) == set(state)


class _Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def _broken(kind, folder):
    file = folder / "weights.pth"
    state = {"a": torch.zeros(1000)}
    if kind == "empty":
        file.touch()
    elif kind == "html":
        file.write_text("<!DOCTYPE html><html>Sign in</html>")
    elif kind == "lfs":
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    elif kind == "text":
        file.write_text("these are no weights")
    elif kind == "truncated pth":
        torch.save(state, file)
        file.write_bytes(file.read_bytes()[:-900])
    elif kind == "truncated safetensors":
        save_file(state, file)
        file.write_bytes(file.read_bytes()[:-900])
    elif kind == "safetensors header":
        file.write_bytes((10**9).to_bytes(8, "little") + b'{"a": 1}')
    elif kind == "pickle":
        file.write_bytes(pickle.dumps({"a": _Bomb()}))
    elif kind == "module":
        torch.save(torch.nn.Linear(2, 2), file)
    elif kind == "no tensors":
        torch.save({"epoch": 3}, file)
    elif kind == "list":
        torch.save([torch.zeros(3)], file)
    return file


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "is empty"),
        ("html", "is a web page, not weights"),
        ("lfs", "git lfs pull"),
        ("text", "weights.pth is"),
        ("truncated pth", "is corrupt or no weight file"),
        ("truncated safetensors", "is corrupt or no weight file"),
        ("safetensors header", "is corrupt or no weight file"),
        ("pickle", "weights.pth is"),
        ("module", "holds Python objects besides tensors, which we never run"),
        ("no tensors", "holds no tensors by name"),
        ("list", "holds no tensors by name"),
    ],
)
def test_read_state_dict__broken_files_get_one_clear_line(tmp_path, monkeypatch, kind, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state_dict(_broken(kind, tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_read_state_dict__a_text_is_no_weight_file_and_its_bytes_say_nothing(tmp_path):
    (tmp_path / "a.pth").write_text("hello")
    with pytest.raises(CheckpointError, match=r"a.pth is corrupt or no weight file; download or export it again$"):
        read_state_dict(tmp_path / "a.pth")


def test_find_weights__says_what_is_missing(tmp_path):
    with pytest.raises(MisuseError, match="does not exist; give a run folder"):
        find_weights(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"holds neither .*; name a finished run, its export, or a file$"):
        find_weights(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="has not finished: resume it first"):
        find_weights(tmp_path)


def test_find_weights__hugging_face_folders(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert find_weights(tmp_path).name == "pytorch_model.bin"
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert find_weights(tmp_path).name == "model.safetensors"


def test_find_weights__shards_are_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="in several shards; save them as one"):
        find_weights(tmp_path)


def test_read_state_dict__a_stray_tensor_does_not_hide_the_weights(tmp_path):
    state = create_model("vit_test", img_size=32).state_dict()
    torch.save({"step": torch.tensor(7), "model": state}, tmp_path / "a.pth")
    assert set(read_state_dict(tmp_path / "a.pth")) == set(state)


def test_read_state_dict__a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    packed = io.BytesIO()
    torch.save({"a": torch.zeros(10**6)}, packed)
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(CheckpointError, match="a compressed archive, which torch never writes"):
        read_state_dict(tmp_path / "a.pth")


def test_read_state_dict__a_tensor_larger_than_the_file_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(2**40)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="claims 1099511627776 values, more than the file holds"):
        read_state_dict(tmp_path / "a.pth")


def test_read_state_dict__sparse_tensors_are_refused(tmp_path):
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="a is sparse, quantised or without values"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("header", "what"),
    [
        (b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}', "unfinished"),
        (b'{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,16]}}', "shape beyond the data"),
        (b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}', "offsets the wrong way"),
        (b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,99999]}}', "offsets beyond the file"),
        (b'{"a":{"dtype":"F99","shape":[4],"data_offsets":[0,16]}}', "unknown type"),
        (b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}', "negative shape"),
        (b"{" + b'"a":[' * 5000, "nested"),
    ],
)
def test_read_state_dict__hostile_safetensors_headers(tmp_path, header, what):
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(CheckpointError, match="is corrupt or no weight file") as caught:
        read_state_dict(file)
    assert "\n" not in str(caught.value), what


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A good file of each container, as bytes."""
    folder = tmp_path_factory.mktemp("fuzz")
    state = create_model("vit_test", img_size=32).state_dict()
    save_file(state, folder / "a.safetensors")
    torch.save(state, folder / "a.zip")
    torch.save(state, folder / "a.pickle", _use_new_zipfile_serialization=False)
    return folder, {name: (folder / f"a.{name}").read_bytes() for name in ("safetensors", "zip", "pickle")}


def check_only_our_errors(file):
    """The loader gives an encoder, or one of our errors in one line; nothing else, ever."""
    try:
        load_encoder(file, img_size=32)
        message = ""
    except VasomimError as error:
        message = str(error)
    assert "\n" not in message


@settings(max_examples=60)
@given(content=st.binary(max_size=300), opening=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", bytes(8) + b"{"]))
def test_load_encoder__random_bytes_give_our_errors_alone(files, content, opening):
    file = files[0] / "random"
    file.write_bytes(opening + content)
    check_only_our_errors(file)


@settings(max_examples=40)
@given(data=st.data(), container=st.sampled_from(["safetensors", "zip", "pickle"]))
def test_load_encoder__flipped_bits_give_our_errors_alone(files, data, container):
    content = bytearray(files[1][container])
    # Headers and the directory at the end are where a flip does most.
    ends = st.integers(0, 4000) | st.integers(len(content) - 4000, len(content) - 1) | st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(ends, min_size=1, max_size=4)):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    file = files[0] / "flipped"
    file.write_bytes(content)
    check_only_our_errors(file)


@settings(max_examples=25)
@given(share=st.floats(0, 0.999), container=st.sampled_from(["safetensors", "zip", "pickle"]))
def test_load_encoder__truncated_files_give_our_errors(files, share, container):
    content = files[1][container]
    file = files[0] / "truncated"
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError):
        load_encoder(file, img_size=32)


@pytest.mark.parametrize("container", ["safetensors", "zip", "pickle"])
def test_container_of__whole_files(files, container):
    assert container_of(files[0] / f"a.{container}") == container
    assert load_encoder(files[0] / f"a.{container}", img_size=32).depth == 2


def test_read_licence__header_config_and_card_in_this_order(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    assert read_licence(file) is None
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\ntags: [x]\n---\n# Card\nlicense: mit\n")
    assert read_licence(file) == ("cc-by-nc-4.0", "README.md")
    (tmp_path / "config.json").write_text('{"license": "mit"}')
    assert read_licence(file) == ("mit", "config.json")
    save_file({"a": torch.zeros(1)}, file, metadata={"license": "apache-2.0"})
    assert read_licence(file) == ("apache-2.0", "header of the file")
    assert read_metadata(file) == {"license": "apache-2.0"}


@pytest.mark.parametrize("card", ["---\nlicense: [\n---\n", "---\nlicense: mit", "license: mit", "---\n- a\n---\n", ""])
def test_read_licence__a_card_without_a_front_matter_says_nothing(tmp_path, card):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    (tmp_path / "README.md").write_text(card)
    assert read_licence(tmp_path / "a.pth") is None


@pytest.mark.parametrize("text", ["{broken", "[1]", "[" * 100000])
def test_read_json_beside__broken(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is (not valid JSON|no JSON object)"):
        read_json_beside(tmp_path / "a.pth")
