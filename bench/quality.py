"""Scores of this program and of other libraries on the same features.

    python bench/quality.py features --real DATA --images OTHER_DATA --num 5000 --out features.npz
    python3 -m venv peers && peers/bin/pip install torch torch-fidelity pytorch-fid prdc scipy
    python bench/quality.py ours --features features.npz
    peers/bin/python bench/quality.py peers --features features.npz

``features`` and ``ours`` run where ``job`` is installed, ``peers`` where the others are. Results:
docs/quality.md.
"""

import argparse
import time

import numpy as np


def features(arguments: argparse.Namespace) -> None:
    """Save the classifier's features of equally many images of two packed data sets."""
    from job.config.storage import StorageSpec
    from job.data.index import read_index
    from job.data.rows import read_rows
    from job.quality.features import open_features
    from job.storage.uri import open_store

    store = open_store(arguments.real)
    extractor = open_features("classifier", store, read_index(store), StorageSpec())
    found = {}
    for name, uri in (("real", arguments.real), ("images", arguments.images)):
        store = open_store(uri)
        rows = read_rows(store, read_index(store), np.arange(arguments.num))
        found[name] = extractor.extract(rows.images)
    np.savez(arguments.out, **found)


def ours(real: np.ndarray, images: np.ndarray) -> dict[str, object]:
    """Return one function for each score."""
    from job.quality.frechet import frechet_distance, moments
    from job.quality.kernel import kernel_distance
    from job.quality.neighbours import neighbourhood

    return {
        "Frechet distance": lambda: frechet_distance(moments(real), moments(images)),
        "KID": lambda: kernel_distance(real, images).mean,
        "precision, recall, density, coverage": lambda: neighbourhood(real, images),
    }


def peers(real: np.ndarray, images: np.ndarray) -> dict[str, object]:
    """Return one function for each score of each library."""
    import scipy.linalg
    import torch
    from prdc import compute_prdc
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity import metric_fid, metric_kid

    x, y = torch.from_numpy(real), torch.from_numpy(images)

    def by_scipy() -> float:
        (m1, c1), (m2, c2) = (
            (each.mean(axis=0), np.cov(each, rowvar=False))
            for each in (real.astype(np.float64), images.astype(np.float64))
        )
        root = np.real(scipy.linalg.sqrtm(c1 @ c2))
        return float(np.square(m1 - m2).sum() + np.trace(c1 + c2 - 2 * root))

    def by_pytorch_fid() -> float:
        statistics = [
            part
            for each in (real.astype(np.float64), images.astype(np.float64))
            for part in (each.mean(axis=0), np.cov(each, rowvar=False))
        ]
        return float(calculate_frechet_distance(*statistics))

    def by_fidelity() -> float:
        statistics = [metric_fid.fid_features_to_statistics(each) for each in (x, y)]
        return metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[
            "frechet_inception_distance"
        ]

    def kid() -> float:
        """Take one subset of all images: the mean over random subsets depends on the draw."""
        found = metric_kid.kid_features_to_metric(
            x, y, kid_subsets=1, kid_subset_size=len(real), verbose=False
        )
        return found["kernel_inception_distance_mean"]

    return {
        "Frechet distance, scipy": by_scipy,
        "Frechet distance, pytorch-fid": by_pytorch_fid,
        "Frechet distance, torch-fidelity": by_fidelity,
        "KID, torch-fidelity": kid,
        "prdc": lambda: compute_prdc(real, images, nearest_k=5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mode", choices=["features", "ours", "peers"])
    parser.add_argument("--real")
    parser.add_argument("--images")
    parser.add_argument("--num", type=int, default=5000)
    parser.add_argument("--out")
    parser.add_argument("--features")
    arguments = parser.parse_args()
    if arguments.mode == "features":
        features(arguments)
        return
    with np.load(arguments.features) as archive:
        real, images = archive["real"], archive["images"]
    for name, score in {"ours": ours, "peers": peers}[arguments.mode](real, images).items():
        started = time.perf_counter()
        value = score()
        print(f"{name}: {value} ({time.perf_counter() - started:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
