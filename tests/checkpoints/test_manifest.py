"""The manifest: exact round trips, earlier versions, and refusals by field in little memory."""

import json
import tracemalloc
from dataclasses import asdict, replace
from typing import Any

import pytest

from job.checkpoints.manifest import MAX_BYTES, BadManifest, Manifest, Part, parse_manifest
from job.config.load import load_run
from job.training.identity import model_identity, order_identity, settings_of
from tests.checkpoints.saves import facts

PART = Part("generator.npz", 1, "0" * 64)
MANIFEST = replace(
    facts(30), parts=(PART,), settings={"seed": 0}, noise_stream=2, reason="preemption"
)


def changed(path: str, value: Any) -> bytes:
    """The manifest as JSON with the field at ``path`` (``parts.0.name``) set to ``value``."""
    document = json.loads(MANIFEST.to_json())
    *parents, last = (int(name) if name.isdigit() else name for name in path.split("."))
    inner = document
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return json.dumps(document).encode()


def nested(depth: int) -> bytes:
    """Brackets in brackets, where the model should be."""
    return changed("model", "@").replace(b'"@"', b"[" * depth + b"]" * depth)


def refusal(data: bytes) -> str:
    """Return the error for it, which is short; parsing takes little more memory than its size."""
    tracemalloc.start()
    try:
        with pytest.raises(BadManifest, match=r"^uri: .*use another checkpoint$") as caught:
            parse_manifest(data, "uri")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 400
    return str(caught.value)


def test_a_manifest_comes_back() -> None:
    assert parse_manifest(MANIFEST.to_json(), "uri") == MANIFEST


def test_the_manifest_of_a_real_run_comes_back() -> None:
    for preset in ("fashion", "notebook", "dcgan64"):
        spec = load_run(preset, overrides=["uri=a", "data.uri=b"])
        manifest = replace(
            MANIFEST,
            model=model_identity(spec),
            order=order_identity(spec),
            settings=settings_of(spec),
        )
        found = parse_manifest(manifest.to_json(), "uri")
        assert asdict(found) == {
            **asdict(manifest),
            **json.loads(json.dumps({"model": manifest.model, "settings": manifest.settings})),
        }
        assert len(manifest.to_json()) < MAX_BYTES / 50


def test_a_manifest_of_version_0_1_is_read() -> None:
    document = json.loads(MANIFEST.to_json())
    for name in ("settings", "noise_stream", "reason"):
        del document[name]
    assert parse_manifest(json.dumps(document).encode(), "uri") == replace(
        MANIFEST, settings={}, noise_stream=0, reason="schedule"
    )


def test_a_later_version_may_add_fields() -> None:
    assert parse_manifest(changed("mood", {"good": [True]}), "uri") == MANIFEST


def test_a_manifest_that_no_reader_accepts_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(MANIFEST, metrics={"generator_loss": float("nan")}).to_json()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format_version", 2, "format_version is 2; this program reads version 1"),
        ("format_version", True, "format_version is True; expected a whole number"),
        ("step", "30", "step is '30'; expected a whole number of at least 0"),
        ("step", True, "step is True; expected a whole number"),
        ("step", -1, "step is -1; expected a whole number of at least 0"),
        (
            "step",
            10**12,
            "step is 1000000000000; expected a whole number of at least 0, at most 999999999999",
        ),
        ("step", 10**4000, "step is 1000000"),
        ("step", 30.0, "step is 30.0; expected a whole number"),
        ("images_seen", 2**63, "images_seen is 9223372036854775808; expected"),
        ("created", "x" * 65, "created is 'xxxx"),
        (
            "created",
            "\x1b[2J",
            r"created is '\x1b[2J'; expected a time of at most 64 printable characters",
        ),
        ("model", [], "model is []; expected an object"),
        (
            "model",
            {"a": {"b": {"c": {"d": {"e": {}}}}}},
            "model.a is {'b': {'c': {'d': {'e': {}}}}}; expected",
        ),
        ("model", {"a\n": 1}, r"model.'a\n' is 1; expected printable names"),
        ("model", {"\udcff" * 100_000: 1}, r"model.'\udcff"),
        ("model", {"a": "x" * 10_001}, "model.a is 'xxx"),
        ("data_fingerprint", "f" * 63, "data_fingerprint is 'fff"),
        ("order", {"seed": "0"}, "order.seed is '0'; expected a whole number"),
        (
            "order",
            {"seed": 2**63},
            "order.seed is 9223372036854775808; expected a whole number, at most"
            " 9223372036854775807",
        ),
        ("world_size", 0, "world_size is 0; expected a whole number of at least 1"),
        ("world_size", 10**7, "world_size is 10000000; expected"),
        ("metrics", None, "metrics is None; expected an object"),
        ("metrics", {"loss": "low"}, "metrics.loss is 'low'; expected a finite number"),
        ("metrics", {"loss": True}, "metrics.loss is True; expected a finite number"),
        ("metrics", {"loss": 10**400}, "metrics.loss is 1000000"),
        ("metrics", {"loss": float("nan")}, "is not JSON (NaN is not a number in JSON)"),
        (
            "metrics",
            {"loss": float("-inf")},
            "is not JSON (-Infinity is not a number in JSON)",
        ),
        ("versions", {"keras": 3}, "versions.keras is 3; expected text"),
        ("parts", "all", "parts is 'all'; expected a list"),
        ("parts", [], "parts is []; expected at least one part"),
        ("parts", [{}], "parts[0].name is missing"),
        ("parts", ["a.npz"], "parts[0] is 'a.npz'; expected an object"),
        ("parts", [asdict(PART)] * 2, "parts[1] is generator.npz again or one too many"),
        (
            "parts",
            [asdict(replace(PART, name=f"{number}.npz")) for number in range(65)],
            "parts[64] is 64.npz again or one too many",
        ),
        (
            "parts",
            [asdict(replace(PART, name=f"{number}.npz", num_bytes=2**34)) for number in range(2)],
            "parts have 34,359,738,368 bytes",
        ),
        (
            "parts.0.name",
            "../../etc/passwd",
            "parts[0].name is '../../etc/passwd'; expected at most 64 letters",
        ),
        ("parts.0.name", "/etc/passwd.npz", "parts[0].name is '/etc/passwd.npz'; expected"),
        ("parts.0.name", "..\\a.npz", "parts[0].name is '..\\\\a.npz'; expected"),
        ("parts.0.name", "a.npz\n", "parts[0].name is 'a.npz\\n'; expected"),
        ("parts.0.name", "a.pickle", "parts[0].name is 'a.pickle'; expected"),
        ("parts.0.name", "manifest.json", "parts[0].name is 'manifest.json'; expected"),
        ("parts.0.name", "a" * 65 + ".npz", "parts[0].name is 'aaa"),
        (
            "parts.0.num_bytes",
            -1,
            "parts[0].num_bytes is -1; expected a whole number of at least 0",
        ),
        (
            "parts.0.num_bytes",
            2**34 + 1,
            "parts[0].num_bytes is 17179869185; expected a whole number of at least 0, at most"
            " 17179869184",
        ),
        ("parts.0.sha256", "0", "parts[0].sha256 is '0'; expected 64 hexadecimal digits"),
        ("settings", ["seed"], "settings is ['seed']; expected an object"),
        (
            "settings",
            {"data": {"uri": "b"}},
            "settings.data is {'uri': 'b'}; expected a single value or a list of them",
        ),
        ("settings", {"filters": [[8]]}, "settings.filters is [[8]]; expected"),
        ("noise_stream", -1, "noise_stream is -1; expected a whole number of at least 0"),
        ("noise_stream", "1", "noise_stream is '1'; expected a whole number"),
        ("reason", "boredom", "reason is 'boredom'; expected one of schedule, preemption, end"),
        ("reason", 1, "reason is 1; expected one of schedule, preemption, end"),
    ],
)
def test_an_invalid_field_is_named(path: str, value: Any, message: str) -> None:
    assert f"uri: {message}" in refusal(changed(path, value))


# Manifests of earlier versions lack them.
LATER = ("settings", "noise_stream", "reason", "classes", "scored_by")


@pytest.mark.parametrize(
    "name",
    [name for name in asdict(MANIFEST) if name not in LATER],
)
def test_a_missing_field_is_named(name: str) -> None:
    document = json.loads(MANIFEST.to_json())
    del document[name]
    assert f"uri: {name} is missing" in refusal(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"\xff\xff\xff", "is not JSON"),
        (b"[]", "the document is []; expected an object"),
        (b"null", "the document is None; expected an object"),
        (b" " * (1 << 20) + b"{}", "has more than 1,048,576 bytes"),
        (b'{"format_version": ' + b"1" * 5000 + b"}", "is not JSON (Exceeds the limit"),
        (b"[" * 500_000, "is nested too deeply"),
        (b'{"a":' * 200_000, "is nested too deeply"),
        (nested(400), "model is [[[[[[[...]]]]]]]; expected an object"),
        (
            changed("metrics", {"loss": 1}).replace(b'"loss": 1', b'"loss": 1e999'),
            "metrics.loss is inf; expected a finite number",
        ),
        (
            b"[" + b"{}," * 349_000 + b"{}]",
            "the document is [{}, {}, {}, {}, {}, {}, ...]; expected an object",
        ),
    ],
    ids=range(13),
)
def test_an_invalid_document_is_refused(data: bytes, message: str) -> None:
    assert f"uri: {message}" in refusal(data)


def test_unpaired_surrogates_stay_printable() -> None:
    assert refusal(changed("created", "\udcff")).isprintable()


def test_the_folder_is_zero_padded() -> None:
    assert [facts(step).folder for step in (1200, 999_999_999_999)] == [
        "checkpoints/step-000001200/",
        "checkpoints/step-999999999999/",
    ]


def test_defaults_are_those_of_a_plain_save() -> None:
    manifest: Manifest = facts(1)
    assert (manifest.settings, manifest.noise_stream, manifest.reason, manifest.num_bytes) == (
        {},
        0,
        "schedule",
        0,
    )
