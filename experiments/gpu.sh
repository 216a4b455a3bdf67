#!/usr/bin/env bash
# Use some minutes of a GPU without a network, for the most informative rows first. The same command continues.
#
#   experiments/gpu.sh 9 out             # 9 minutes; results, logs and weights to out/
#   experiments/gpu.sh 9 out data        # also the tables of data/camvid and data/drive
#
# In a copy of the code without history, AESEG_COMMIT is the commit. `tables scenes_labels --scale=gpu --run --together --runs=out/runs
# --minutes=0.01` on another machine records the rows that came back in out/runs/together.
set -u
minutes=$1 out=$(realpath -m "$2") data=${3:+$(realpath -m "$3")}
began=$(date +%s)
left() { awk -v all="$minutes" -v spent=$(($(date +%s) - began)) 'BEGIN { left = all - spent / 60; print (left > 0.05) ? left : 0.05 }'; }
export PYTHONUNBUFFERED=1 JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$out/compiled}"
export XLA_FLAGS="${XLA_FLAGS:-} --xla_gpu_autotune_level=0"  # a program compiles in 15 s instead of 100 s
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
mkdir -p "$out/runs"
keep() { cp -f experiments/results/{scenes_labels,scenes_labels_tuning,camvid_segnet,drive}.jsonl "$out/" 2>/dev/null; }

python3 -m experiments.tables scenes_labels --scale=gpu --run --together --runs="$out/runs" --minutes="$(left)" 2>&1 | tee -a "$out/scenes_labels.log"
keep
for table in camvid_segnet drive; do
  [ -n "$data" ] || break
  root=$data/${table%%_*}
  timeout --signal=TERM "$(left | awk '{ print int(60 * $1) + 1 }')" python3 -m experiments.tables "$table" --scale=paper --run \
    --set="data.root=$root" --runs="$out/runs" 2>&1 | tee -a "$out/$table.log"
  keep
done
