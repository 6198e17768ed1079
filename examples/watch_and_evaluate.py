"""Train in two parts, look at the numbers in between, and score the images of the end.

python examples/watch_and_evaluate.py
"""

from job.api import evaluate, fit_features, pack, train

data, test = "packed/fashion", "packed/fashion-test"
pack("keras:fashion_mnist", data)
pack("keras:fashion_mnist", test, split="test")
print(f"features: accuracy {fit_features(data, epochs=1).accuracy:.3f}")

settings = {"uri": "runs/watched", "data.uri": data}
for steps in (100, 200):  # the second call resumes the first
    run = train(
        preset="fashion",
        settings=settings | {"training.steps": steps},
        on_report=lambda report: print(report.step, f"{report.images_per_second:.0f} images/s"),
    )
    row = run.metrics()[-1]
    print(f"step {row['step']}: D loss {row['dcgan_discriminator_loss']:.3f}")

scores = evaluate(run.uri, data, held_out=test, num_images=2000)
print(f"Frechet distance {scores.generated.frechet_distance:.2f}")
print(f"of other real images {scores.floor.frechet_distance:.2f}")
