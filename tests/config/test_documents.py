"""YAML of a file, a preset and ``--set``: what is read, what is refused."""

import re
from pathlib import Path

import pytest
import yaml

from job.config.documents import (
    flat,
    lookup,
    merge,
    preset_names,
    read_file,
    read_override,
    read_preset,
    read_stored,
    setting_text,
)
from job.config.errors import ConfigError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "found a list at the top"),
        ("a: [", "not valid YAML"),
        ("seed: 1\nseed: 2", "not valid YAML in line 2, column 1: the key seed is there twice"),
        (
            "training:\n\tepochs: 2",
            "in line 2, column 1: while scanning for the next token found character '\\t' that"
            " cannot start any token",
        ),
        ("training:\n\tepochs: 2", "Indent with spaces: YAML takes no tabs"),
        ("[" * 3000, "nested too deeply"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_file(path)


def test_a_missing_file_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_file(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    for content in (b"\x89PNG\r\n\x1a\n", b"\xff\xfe\x00\xd8", b"seed: \xfc"):
        binary.write_bytes(content)
        with pytest.raises(ConfigError, match="not a text file; expected YAML in UTF-8"):
            read_file(binary)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes("uri: Läufe/ü\r\ntraining:\r\n  epochs: 2\r\n".encode(encoding))
    assert read_file(path) == {"uri": "Läufe/ü", "training": {"epochs": 2}}


@pytest.mark.parametrize("name", ["2026-02-03", "2026-02-30"])
def test_a_date_is_text(name: str) -> None:
    assert read_override(f"uri={name}") == {"uri": name}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "--set nonsense: expected key=value"),
        (".=3", "--set .=3: expected key=value"),
        ("a=[", "--set a=[: the value is not valid YAML; quote it"),
    ],
)
def test_a_wrong_override_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_override(text)


def test_an_override_is_nested_yaml() -> None:
    assert read_override("a.b=[1, x]") == {"a": {"b": [1, "x"]}}
    assert read_override("a=") == {"a": None}


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        read_preset("notbook")
    known = ", ".join(preset_names())
    assert str(caught.value) == (
        f"preset is 'notbook'; expected one of {known}; did you mean notebook?"
    )


def test_merge_keeps_what_the_other_side_does_not_set() -> None:
    target = {"a": {"b": 1, "c": 2}, "d": 3}
    source = {"a": {"b": 4}, "d": {"e": 5}}
    merge(target, source)
    assert target == {"a": {"b": 4, "c": 2}, "d": {"e": 5}}
    target["d"]["e"] = 6
    assert source["d"] == {"e": 5}  # a copy


def test_a_key_is_looked_up_by_its_dotted_name() -> None:
    document = {"a": {"b": None}, "c": 1}
    assert lookup(document, "a.b") is None
    assert lookup(document, "c") == 1
    for missing in ("a.c", "c.d", "a.b.c"):
        with pytest.raises(KeyError):
            lookup(document, missing)


@pytest.mark.parametrize(
    "value", [1, 2e-4, None, True, [128, 64], "a #b", "1", "", "C:\\x\n", "ü, [" * 60]
)
def test_a_setting_is_one_line_that_reads_back(value: object) -> None:
    line = setting_text("name", value)
    assert "\n" not in line
    assert yaml.safe_load(line) == {"name": value}


def test_nested_keys_become_dotted() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}}) == {"a.b.c": 1, "a.d": [1, {"e": 2}]}


def test_a_stored_configuration_is_read_by_dotted_key() -> None:
    assert read_stored(b"# ray: 2.60.0\nseed: 0\na:\n  b: [1, 2]\n") == {"seed": 0, "a.b": [1, 2]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"- list",
        b"a: [",
        b"\xff\x00",
        b"[" * 20_000,
        b"a: 1" + b"0" * 9000,
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        b"a: !!python/object/apply:os.system [ls]",
        b"seed: !!bool foo",
        b"seed: !!timestamp foo",
        b"seed: !!int ''",
        b"seed: 0x1" + b"f" * 5000,
        b"seed: " + b"1:" * 9000 + b"59.5",
        b"a: [{!!binary aGk=: 1}]",
        b"a: !!binary aGk=",
    ],
)
def test_a_stored_file_that_is_not_a_configuration_has_no_keys(data: bytes) -> None:
    assert read_stored(data) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", ["!!int foo", "!!bool foo", "!!timestamp foo", "0x_", "[" * 3000, "0x1" + "0" * 6000]
)
def test_a_value_that_yaml_cannot_make_is_one_error(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the value is not valid YAML; quote it"):
        read_override(f"seed={value}")
    (tmp_path / "run.yaml").write_text(f"seed: {value}")
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        read_file(tmp_path / "run.yaml")
