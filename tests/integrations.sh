#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/integrations.sh    what other programs' own readers make of ours: TensorBoard of an event file, MLflow and Weights &
# Biases (offline) of what deploy/integrations/forward.py sent them.
#   TAILOR_BUILD    build directory (default: build)
#   TAILOR_VENV     a Python venv with tensorboard, mlflow-skinny, wandb; default: made under the build directory
# By hand, not CI: it needs the network. Ends in "N passed, N failed".
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${TAILOR_BUILD:-$root/build}
venv=${TAILOR_VENV:-$build/venv-integrations}
if ! "$venv/bin/python" -c 'import tensorboard, mlflow, wandb' 2>/dev/null; then
    python3 -m venv "$venv" && "$venv/bin/pip" install -q tensorboard mlflow-skinny wandb || exit 1
fi
venv=$(cd "$venv" && pwd)
set -- "$build"
. "$root/tests/e2e/lib.sh"
. "$root/tests/e2e/service_lib.sh"
export TAILOR_LOG=warn
forward="$root/deploy/integrations/forward.py"
python3 "$root/deploy/sample_data.py" --out "$work/data"
says "up" "with 1 worker" tailor up --data "$work/service" --port "$port"
says "base" "ready" tailor base add tiny "$base"
says "data" "accepted" tailor data add general data/general.train.jsonl
cat > job.yaml <<'YAML'
name: seen
stage: general
from: tiny
data: {train: [general], eval: [general]}
output: {model: hh}
train: {batch_groups: 4, max_steps: 12, learning_rate: 1e-3}
evaluate: {every_steps: 6, max_pairs: 20}
model: {template: dsp, max_length: 160}
YAML
job=$(tailor submit job.yaml -q)
export MLFLOW_TRACKING_URI="file://$work/mlruns" MLFLOW_ALLOW_FILE_STORE=true WANDB_MODE=offline WANDB_DIR="$work" WANDB_SILENT=true
expect "MLflow takes a job that runs" "$venv/bin/python" "$forward" "$job" --to mlflow
expect "W&B takes one that is over" "$venv/bin/python" "$forward" "$job" --to wandb
refuses "an unknown job is said" 1 "j-99" "$venv/bin/python" "$forward" j-99 --to wandb
says "TensorBoard's file" "points" tailor job metrics "$job" --tensorboard runs
tailor job metrics "$job" -o jsonl -n 1000 > points.jsonl
cat > read.py <<'PY'
import glob, json, math, os, sys
points = [json.loads(line) for line in open("points.jsonl")]
wanted = [(p["step"], p["values"]["loss"]) for p in points if "loss" in p["values"]]
accuracy = [(p["step"], p["values"]["eval_accuracy"]) for p in points if "eval_accuracy" in p["values"]]
assert len(wanted) == 12 and len(accuracy) >= 2, (len(wanted), len(accuracy))
def same(got, all_of, what):
    assert len(got) == len(all_of) and all(a == c and math.isclose(b, d, rel_tol=1e-6) for (a, b), (c, d) in zip(got, all_of)), (what, got, all_of)
if sys.argv[1] == "tensorboard":
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator("runs/" + sys.argv[2])
    events.Reload()
    same([(e.step, e.value) for e in events.Scalars("train/loss")], wanted, "loss")
    same([(e.step, e.value) for e in events.Scalars("eval/accuracy")], accuracy, "accuracy")
elif sys.argv[1] == "mlflow":
    import mlflow
    client = mlflow.MlflowClient()
    run, = client.search_runs([client.get_experiment_by_name("tailor").experiment_id])
    assert run.info.run_name == sys.argv[2] + " seen" and run.info.status == "FINISHED", run.info
    assert run.data.params["train.max_steps"] == "12" and run.data.tags["state"] == "succeeded", run.data
    same([(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")], wanted, "loss")
    same([(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "eval_accuracy")], accuracy, "accuracy")
else:
    from wandb.proto import wandb_internal_pb2
    def records(data):  # LevelDB's log behind a header of 7 bytes: blocks of 32 KiB, parts with checksum, length and kind
        at, whole = 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            length, kind = int.from_bytes(data[at + 4:at + 6], "little"), data[at + 6]
            whole = (b"" if kind in (1, 2) else whole) + data[at + 7:at + 7 + length]
            at += 7 + length
            if kind in (1, 4):
                yield whole
    got = []
    for data in records(open(glob.glob("wandb/offline-run-*/*.wandb")[0], "rb").read()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        row = {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
        if "loss" in row:
            got.append((row["step"], row["loss"]))
    same(got, wanted, "loss")
PY
for reader in tensorboard mlflow wandb; do
    expect "$reader's side has the job's points" "$venv/bin/python" read.py "$reader" "$job"
done
tailor down --data "$work/service" >/dev/null 2>&1
finish
