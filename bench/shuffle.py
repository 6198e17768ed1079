"""Measure how well each epoch shuffles the images, compared with a permutation of all of them.

    python bench/shuffle.py    60,000 images in 180 shards and in 1,429, global batches of 64

Packing has already shuffled all images once; this measures what the order of an epoch adds, as the
distances between neighbours before and after. Distances are medians, in images.
"""

import argparse

import numpy as np

from job.data.order import Order, rows_at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--shard-images", type=int, nargs="+", default=[334, 42])
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    print(
        "| order | images in a shard | packed neighbours, now apart |"
        " neighbours now, packed apart | same two neighbours again an epoch later |"
    )
    print("| --- | --- | --- | --- | --- |")
    print("| as packed | | 1 | 1 | 100 % |")
    for shard_images in arguments.shard_images:
        full, rest = divmod(arguments.images, shard_images)
        order = Order((shard_images,) * full + ((rest,) if rest else ()), arguments.batch, seed=0)
        epochs = [
            rows_at(order, epoch * order.steps_per_epoch, order.steps_per_epoch).ravel()
            for epoch in range(arguments.epochs)
        ]
        show(f"ours, {order.num_streams} streams", shard_images, epochs, arguments.images)
    generator = np.random.default_rng(0)
    show(
        "a permutation of all images",
        None,
        [generator.permutation(arguments.images) for _ in range(arguments.epochs)],
        arguments.images,
    )


def show(name: str, shard_images: int | None, epochs: list[np.ndarray], num_images: int) -> None:
    """Print one line of the table, the mean over the epochs."""
    apart, packed_apart, again = [], [], []
    for epoch, following in zip(epochs, [*epochs[1:], epochs[0]], strict=True):
        position = np.full(num_images, -1)
        position[epoch] = np.arange(len(epoch))
        both_shown = (position[1:] >= 0) & (position[:-1] >= 0)
        apart.append(np.median(np.abs(np.diff(position))[both_shown]))
        packed_apart.append(np.median(np.abs(np.diff(epoch))))
        pairs = [
            set(map(tuple, np.sort(np.stack([rows[1:], rows[:-1]], axis=1)).tolist()))
            for rows in (epoch, following)
        ]
        again.append(len(pairs[0] & pairs[1]) / len(epoch))
    print(
        f"| {name} | {shard_images or ''} | {np.mean(apart):,.0f} | {np.mean(packed_apart):,.0f} |"
        f" {np.mean(again):.2%} |"
    )


if __name__ == "__main__":
    main()
