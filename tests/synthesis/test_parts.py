"""Sets of generated images, part by part: resumed after any failure, every index once.

On the local disk, and on the real S3 server.
"""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from job.config.errors import ConfigError, StorageError
from job.config.storage import StorageSpec
from job.data.index import read_index
from job.data.verify import verify
from job.storage.uri import open_store
from job.synthesis.completion import complete
from job.synthesis.maker import PartMaker
from job.synthesis.marking import DIGITAL_SOURCE_TYPE
from job.synthesis.parts import begin, committed, is_finished
from job.synthesis.plan import IndexRange
from job.synthesis.request import Request
from job.synthesis.source import load_generator
from tests.data.samples import packed_rows
from tests.servers.s3 import S3Server
from tests.synthesis.runs import whole

pytestmark = pytest.mark.training

FORMS = ("png", "tar", "parquet", "shards")


@pytest.fixture(scope="module")
def images(run_folder: Path) -> np.ndarray:
    return whole(load_generator(str(run_folder)).generator, 0, 300)


@pytest.fixture(scope="module")
def maker(run_folder: Path) -> PartMaker:
    return PartMaker(str(run_folder), StorageSpec())


def request_for(run_folder: Path, out: object, form: str = "tar", **options: object) -> Request:
    values = {"num_images": 300, "part_images": 128} | options
    return Request(str(run_folder), str(out), form, **values)  # type: ignore[arg-type]


def make(maker: PartMaker, request: Request, max_parts: int | None = None) -> int:
    """Make at most ``max_parts`` parts, all if None; return how many were missing."""
    plan = maker.plan(request)
    missing = begin(request.open(), plan)
    maker.make(plan, request.destination, missing[:max_parts])
    if max_parts is None:
        complete(request.open(), plan)
    return len(missing)


def found_images(folder: Path, form: str) -> dict[int, np.ndarray]:
    """Return the images of a set by index, read as its users read it; no index twice."""
    pngs = [(int(path.stem), path.read_bytes()) for path in sorted(folder.glob("*.png"))]
    for path in sorted(folder.glob("shard-*.tar")):
        with tarfile.open(path) as archive:
            pngs += [
                (int(each.name.removesuffix(".png")), archive.extractfile(each).read())
                for each in archive.getmembers()
            ]
    for path in sorted(folder.glob("shard-*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            assert row["image"]["path"] == f"{row['index']:09d}.png"
            assert row["digital_source_type"] == DIGITAL_SOURCE_TYPE
            pngs.append((row["index"], row["image"]["bytes"]))
    if form == "shards":
        index = read_index(open_store(str(folder)))
        return dict(enumerate(packed_rows(folder, index)))
    assert len(dict(pngs)) == len(pngs)
    return {number: np.asarray(Image.open(io.BytesIO(png)))[..., None] for number, png in pngs}


@pytest.mark.parametrize("form", FORMS)
def test_every_image_is_in_one_part_under_its_index(
    maker: PartMaker, run_folder: Path, tmp_path: Path, form: str, images: np.ndarray
) -> None:
    assert make(maker, request_for(run_folder, tmp_path, form)) == 3
    found = found_images(tmp_path, form)
    assert list(found) == list(range(300))
    assert np.array_equal(np.stack(list(found.values())), images)
    suffix = {"shards": "u8"}.get(form, form)
    if form == "png":
        assert len(list(tmp_path.iterdir())) == 303  # and three files that describe them
    assert form == "png" or [path.name for path in sorted(tmp_path.glob("shard-*"))] == [
        f"shard-{start:09d}-{min(start + 127, 299):09d}.{suffix}" for start in (0, 128, 256)
    ]
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_second_run_makes_what_is_missing_and_ends_with_the_same_bytes(
    maker: PartMaker, run_folder: Path, tmp_path: Path, form: str
) -> None:
    """Killed after two parts, and while the third was written but not committed."""
    at_once, resumed = tmp_path / "once", tmp_path / "resumed"
    make(maker, request_for(run_folder, at_once, form))
    make(maker, request_for(run_folder, resumed, form), max_parts=2)
    third = next(path.name for path in at_once.glob("*000000256*"))
    (resumed / third).write_bytes(b"half")
    assert not is_finished(open_store(str(resumed)))
    assert make(maker, request_for(run_folder, resumed, form)) == 1
    assert contents(resumed) == contents(at_once)
    assert make(maker, request_for(run_folder, resumed, form)) == 0


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by name, without the times that some of them have."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("README.md", "croissant.json")
    }


def test_a_part_that_was_deleted_or_cut_is_made_again(
    maker: PartMaker, run_folder: Path, tmp_path: Path
) -> None:
    make(maker, request_for(run_folder, tmp_path))
    before = contents(tmp_path)
    (tmp_path / "shard-000000128-000000255.tar").unlink()
    (tmp_path / "shard-000000256-000000299.tar").write_bytes(b"cut")
    assert make(maker, request_for(run_folder, tmp_path)) == 2
    assert contents(tmp_path) == before


@pytest.mark.parametrize("options", [{"num_images": 100_001}, {"part_images": 320}])
def test_single_pngs_are_not_for_very_many_images(
    run_folder: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    """`generation.json` and the record of a part list each file, and have a limit."""
    request = request_for(run_folder, tmp_path, "png", **options)
    with pytest.raises(ConfigError, match=r"expected at most 100,000 images, 256 in a part: use"):
        request.open()


OTHER = {
    "--num": {"num_images": 301},
    "--seed": {"seed": 1},
    "--start": {"start": 64},
    "--part-images": {"part_images": 64},
    "--truncation none, not 0.7": {"truncation": 0.7},
    "--format": {"form": "parquet"},
    "--mark yes, not no": {"marked": False},
}


@pytest.mark.parametrize("option", OTHER)
def test_other_arguments_on_the_same_output_are_refused_by_name(
    maker: PartMaker, run_folder: Path, tmp_path: Path, option: str
) -> None:
    """Before a generator is loaded; what is there stays."""
    make(maker, request_for(run_folder, tmp_path), max_parts=1)
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match=rf"was begun with {option}( .*, not |; choose)"):
        request_for(run_folder, tmp_path, **OTHER[option]).open()
    assert contents(tmp_path) == before


def test_another_checkpoint_is_refused_and_a_moved_one_is_not(
    maker: PartMaker, run_folder: Path, tmp_path: Path
) -> None:
    from tests.synthesis.runs import save_run, spec_of

    make(maker, request_for(run_folder, tmp_path / "out"), max_parts=1)
    other = tmp_path / "other"
    save_run(other, spec_of("fashion", "model.generator.latent_size=7"), 20)
    with pytest.raises(ConfigError, match=r"begun with CHECKPOINT .*step-000000020 \(step 20\)"):
        make(PartMaker(str(other), StorageSpec()), request_for(other, tmp_path / "out"))
    run_folder.rename(run_folder.with_name("moved"))
    try:
        moved = PartMaker(str(run_folder.with_name("moved")), StorageSpec())
        assert make(moved, request_for(run_folder, tmp_path / "out")) == 2
    finally:
        run_folder.with_name("moved").rename(run_folder)


@pytest.mark.parametrize("name", ["index.json", "photo.png", "shard-000000000-000000127.tar"])
def test_a_folder_with_other_files_is_refused(run_folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not ours")
    with pytest.raises(ConfigError, match=f"holds {name} already"):
        request_for(run_folder, tmp_path).open()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 9}'])
def test_a_plan_that_is_damaged_is_refused(run_folder: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "generation.json").write_text(text)
    with pytest.raises(ConfigError, match=r"generation\.json: "):
        request_for(run_folder, tmp_path).open()


def test_a_set_with_a_missing_part_is_not_completed(
    maker: PartMaker, run_folder: Path, tmp_path: Path
) -> None:
    make(maker, request_for(run_folder, tmp_path), max_parts=2)
    with pytest.raises(StorageError, match="the part from image 256 on is missing"):
        complete(open_store(str(tmp_path)), maker.plan(request_for(run_folder, tmp_path)))
    assert not is_finished(open_store(str(tmp_path)))


def test_a_damaged_record_means_that_its_part_is_made_again(
    maker: PartMaker, run_folder: Path, tmp_path: Path
) -> None:
    make(maker, request_for(run_folder, tmp_path), max_parts=2)
    record = tmp_path / "parts" / "shard-000000000-000000127.json"
    for text in ("", '{"start": 0, "stop": 128, "files": [{"name": "../x"}]}'):
        record.write_text(text)
        assert [each.start for each in committed(open_store(str(tmp_path)))] == [128]


def test_shards_are_a_data_set_to_train_on_and_say_that_they_are_synthetic(
    maker: PartMaker, run_folder: Path, tmp_path: Path
) -> None:
    make(maker, request_for(run_folder, tmp_path, "shards"))
    store = open_store(str(tmp_path))
    index = read_index(store)
    assert verify(store, index) == []
    assert (index.num_rows, index.source.kind) == (300, "generated")
    assert index.source.uri.endswith("step-000000020#seed=0")
    fields = json.loads((tmp_path / "index.json").read_text())
    assert fields["source"]["digital_source_type"] == DIGITAL_SOURCE_TYPE


def test_a_part_needs_whole_blocks(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--part-images is 100; expected a multiple of 64"):
        request_for(run_folder, tmp_path, part_images=100).open()


def test_parts_meet_at_multiples_of_their_size(
    maker: PartMaker, run_folder: Path, tmp_path: Path
) -> None:
    plan = maker.plan(request_for(run_folder, tmp_path, start=100, num_images=200))
    assert list(plan.parts()) == [
        IndexRange(100, 128),
        IndexRange(128, 256),
        IndexRange(256, 300),
    ]


@pytest.mark.s3
@pytest.mark.parametrize("form", FORMS)
def test_a_set_on_s3_has_the_same_bytes(
    maker: PartMaker, run_folder: Path, tmp_path: Path, s3_env: S3Server, form: str
) -> None:
    make(maker, request_for(run_folder, tmp_path, form))
    uri = f"s3://{s3_env.new_bucket()}/synthetic"
    storage = StorageSpec(path_style=True)
    request = request_for(run_folder, uri, form, storage=storage)
    remote = PartMaker(str(run_folder), storage)
    make(remote, request, max_parts=1)
    assert make(remote, request) == 2
    store = open_store(uri, storage)
    found = {each.key: store.read(each.key) for each in store.list()}
    assert {name: found[name] for name in contents(tmp_path)} == contents(tmp_path)
