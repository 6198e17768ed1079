"""Measure downloads from S3 beside boto3, its CRT client and obstore, with and without TLS.

    python -m bench.fetch PACKED                    # packed images; the other libraries are
    python -m bench.fetch PACKED --libraries VENV   # installed once

Every contender downloads all shards into an empty folder, in a new process, on 16 threads (the CRT
client has its own). The first shard comes before its time begins, so that imports, credentials and
the first connection do not count. Ours checks every SHA-256, the CRT client a checksum of the
server, the others nothing. In each round all take turns, also those of the other server. ``png``
fetches ``--raw`` images as an object each, to say what packing saves. The servers (the tests' own,
`make tools`) run on the same cores.
"""

import argparse
import io
import itertools
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

THREADS = 16
CONTENDERS = {
    "ours": "dcgan-train, SHA-256 of every shard checked",
    "get_object": "boto3 `get_object`",
    "download_file": "boto3 `download_file`",
    "crt": "s3transfer's CRT client, a checksum checked",
    "obstore": "obstore `get`",
}
RAW = "png"  # one object an image, by boto3's get_object


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, metavar="PACKED")
    parser.add_argument("--raw", type=int, default=2000, help="images that are objects, too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(".bench"), help="for --libraries")
    parser.add_argument("--libraries", type=Path, help="an environment of fetch-requirements.txt")
    parser.add_argument("--one", nargs=2, metavar=("CONTENDER", "BUCKET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.data)))
    else:
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    from bench.machine import described
    from bench.streaming import last_line, libraries_python
    from job.config.storage import StorageSpec
    from job.data.index import read_index
    from job.storage.uri import open_store
    from tests.servers.s3 import s3_server

    index = read_index(open_store(str(arguments.data)))
    libraries = libraries_python(arguments, "fetch")
    found: dict[tuple[bool, str], list[dict[str, float]]] = defaultdict(list)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with ExitStack() as stack:
        places = []
        for tls in (False, True):
            server = stack.enter_context(s3_server(tls=tls))
            bucket = server.new_bucket()
            os.environ.update(server.env())
            store = open_store(f"s3://{bucket}/set", StorageSpec(checksums="when_required"))
            for name in ["index.json", *(shard.name for shard in index.shards)]:
                store.upload(arguments.data / name, name)
            for number, png in as_pngs(arguments.data, index, arguments.raw):
                store.write(f"png/{number:06d}.png", png)
            places.append((tls, bucket, kept | server.env()))
        for _ in range(arguments.rounds):
            for name in (*CONTENDERS, RAW):
                python = sys.executable if name == "ours" else libraries
                for tls, bucket, env in places:
                    command = [python, "-m", "bench.fetch", arguments.data, "--one", name, bucket]
                    found[tls, name].append(last_line(command, env))
    num_bytes = sum(shard.num_bytes for shard in index.shards)
    print(
        f"{described()}; {num_bytes / 2**20:.0f} MiB in {len(index.shards)} shards,"
        f" {index.num_rows:,} images; medians of {arguments.rounds}\n"
    )
    print(
        "| contender | MB/s | processor s a GiB | MB/s, TLS | processor s a GiB, TLS |\n"
        "| --- | --- | --- | --- | --- |"
    )

    timed_bytes = num_bytes - index.shards[0].num_bytes

    def median(tls: bool, name: str, key: str) -> float:
        return statistics.median(result[key] for result in found[tls, name])

    for name, title in CONTENDERS.items():
        cells = []
        for tls in (False, True):
            cells.append(f"{timed_bytes / 1e6 / median(tls, name, 'seconds'):,.0f}")
            cells.append(f"{median(tls, name, 'processor') / timed_bytes * 2**30:.2f}")
        print(f"| {title} | {' | '.join(cells)} |")
    print("\nImages/s by `get_object`, a PNG file or a shard an object, and processor s a million:")
    for tls in (False, True):
        counts = {RAW: arguments.raw - 1, "get_object": timed_bytes // index.row_bytes}
        rates = [count / median(tls, name, "seconds") for name, count in counts.items()]
        costs = [median(tls, name, "processor") / count * 1e6 for name, count in counts.items()]
        print(
            f"{'https' if tls else 'http'}: {rates[0]:,.0f}, {rates[1]:,.0f}"
            f" ({rates[1] / rates[0]:.0f} times); {costs[0]:,.0f}, {costs[1]:,.0f}"
        )


def as_pngs(folder: Path, index: Any, num: int) -> Iterator[tuple[int, bytes]]:
    """Yield the first ``num`` images, numbered, as PNG."""
    import numpy as np
    from PIL import Image

    shards = (np.fromfile(folder / shard.name, np.uint8) for shard in index.shards)
    rows = (row for shard in shards for row in shard.reshape(-1, *index.image_shape))
    for number, pixels in enumerate(itertools.islice(rows, num)):
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "PNG")
        yield number, file.getvalue()


def measure(name: str, bucket: str, data: Path) -> dict[str, float]:
    """Return the seconds, and those of the processor, of one download by this process."""
    shards = [shard["name"] for shard in json.loads((data / "index.json").read_text())["shards"]]
    with tempfile.TemporaryDirectory() as folder:
        get, done = globals()[f"_{name}"](bucket, Path(folder))
        if name == RAW:
            shards = _listed(bucket, "set/png/")
        get(shards[0])
        before, started = _processor_seconds(), time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(get, shards[1:]))
        seconds, processor = time.perf_counter() - started, _processor_seconds() - before
        done()
    return {"seconds": seconds, "processor": processor}


Contender = tuple[Callable[[str], object], Callable[[], object]]


def _ours(bucket: str, folder: Path) -> Contender:
    from job.data.index import read_index
    from job.storage.retry import Deadline
    from job.storage.uri import open_store
    from job.streaming.cache import ShardCache
    from job.streaming.events import NullListener
    from job.streaming.fetch import Fetcher
    from job.streaming.loader import ShardLoader

    store = open_store(f"s3://{bucket}/set")
    shards = {shard.name: shard for shard in read_index(store).shards}
    fetcher = Fetcher(store, THREADS, NullListener())
    cache = ShardCache(folder, 1 << 40)
    loader = ShardLoader(store, cache, fetcher, True, NullListener())
    return lambda name: loader.load(shards[name], Deadline(60).start()).release(), fetcher.close


def _client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(s3={"addressing_style": "path"}, max_pool_connections=THREADS)
    return boto3.session.Session().client("s3", config=config)


def _get_object(bucket: str, folder: Path) -> Contender:
    client = _client()

    def get(name: str) -> None:
        body = client.get_object(Bucket=bucket, Key=f"set/{name}")["Body"].read()
        (folder / name.rpartition("/")[2]).write_bytes(body)

    return get, client.close


_png = _get_object


def _listed(bucket: str, prefix: str) -> Sequence[str]:
    pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"].removeprefix("set/") for page in pages for item in page["Contents"]]


def _download_file(bucket: str, folder: Path) -> Contender:
    client = _client()

    def get(name: str) -> None:
        client.download_file(bucket, f"set/{name}", str(folder / name))

    return get, client.close


def _crt(bucket: str, folder: Path) -> Contender:
    """Make the client as boto3 does, which itself cannot use one without TLS."""
    import botocore.session
    from s3transfer import crt

    session, url = botocore.session.get_session(), os.environ["AWS_ENDPOINT_URL"]
    region = os.environ["AWS_REGION"]
    client = crt.create_s3_crt_client(
        region,
        crt.BotocoreCRTCredentialsWrapper(session.get_credentials()).to_crt_credentials_provider(),
        use_ssl=url.startswith("https:"),
        verify=os.environ.get("AWS_CA_BUNDLE"),
    )
    serializer = crt.BotocoreCRTRequestSerializer(
        session, {"region_name": region, "endpoint_url": url}
    )
    manager = crt.CRTTransferManager(client, serializer)
    return (
        lambda name: manager.download(bucket, f"set/{name}", str(folder / name)).result(),
        manager.shutdown,
    )


def _obstore(bucket: str, folder: Path) -> Contender:
    from obstore.store import S3Store

    options: dict[str, Any] = {"allow_http": True}
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = Path(bundle).read_text()
    store = S3Store(bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options=options)

    def get(name: str) -> None:
        with open(folder / name, "wb") as file:
            for piece in store.get(f"set/{name}").stream(min_chunk_size=1 << 20):
                file.write(piece)

    return get, lambda: None


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
