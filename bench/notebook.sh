#!/usr/bin/env bash
# The tutorial notebook's recipe on MNIST, one epoch on two workers: how long, how fast, and what the digits look like.
#
#   bash bench/notebook.sh MNIST_FOLDER [OUT]      MNIST_FOLDER holds train-images-idx3-ubyte(.gz); OUT defaults to .demo/notebook
set -euo pipefail
source=${1:?usage: bash bench/notebook.sh MNIST_FOLDER [OUT]}
out=${2:-.demo/notebook}
program=${PROGRAM:-.venv/bin/dcgan-train}

"$program" data pack "$source" "$out/mnist"
started=$(date +%s)
"$program" train --preset notebook --set "data.uri=$out/mnist" --set "uri=$out/run" --set training.epochs=1 --set workers.count=2 \
  --set samples.every_steps=125 --set metrics.port=0
echo "seconds from command to end: $(($(date +%s) - started))"
cat "$out/run/summary.json"
