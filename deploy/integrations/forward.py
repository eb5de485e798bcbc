#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A job's curves, as they come, into MLflow or Weights & Biases:

    deploy/integrations/forward.py j-17 --to mlflow              # MLFLOW_TRACKING_URI says where
    deploy/integrations/forward.py j-17 --to wandb --project rm  # WANDB_MODE, WANDB_API_KEY as always

Runs until the job is over, over restarts of the coordinator. The run has the job's name, its spec as parameters, and in the
end its state, model version and gate. Needs client/python/tailor.py beside it or on PYTHONPATH, and mlflow or wandb. Who the
caller is comes from the command line's profile (tailor login).
"""
import argparse
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "client", "python"))
import tailor  # noqa: E402


def flat(value, name=""):
    """{"train": {"seed": 1}} → ("train.seed", 1)"""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


class MlflowRun:
    def __init__(self, project, job):
        import mlflow
        self.mlflow = mlflow
        mlflow.set_experiment(project)
        mlflow.start_run(run_name=f"{job['id']} {job.get('name', '')}".strip())
        mlflow.log_params({name: str(value)[:500] for name, value in flat(job["spec"])})

    def point(self, step, time_ms, values):
        from mlflow.entities import Metric
        # a curve and a folder of one name cannot lie side by side in its store
        metrics = [Metric(name.replace("/", "."), value, time_ms, step) for name, value in values.items()]
        self.mlflow.MlflowClient().log_batch(self.mlflow.active_run().info.run_id, metrics=metrics)

    def end(self, facts, good):
        self.mlflow.set_tags(facts)
        self.mlflow.end_run("FINISHED" if good else "FAILED")


class WandbRun:
    def __init__(self, project, job):
        import wandb
        self.run = wandb.init(project=project, id=f"tailor-{job['id']}", name=f"{job['id']} {job.get('name', '')}".strip(),
                              config=dict(flat(job["spec"])))
        # an evaluation comes behind a step's line and has the same step: each curve has its own axis
        self.run.define_metric("*", step_metric="step")

    def point(self, step, time_ms, values):
        self.run.log({"step": step, "time_ms": time_ms, **{name.replace(".", "/"): value for name, value in values.items()}})

    def end(self, facts, good):
        self.run.summary.update(facts)
        self.run.finish(0 if good else 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", help="such as j-17")
    parser.add_argument("--to", required=True, choices=["mlflow", "wandb"])
    parser.add_argument("--project", default="tailor", help="W&B's project, MLflow's experiment")
    parser.add_argument("--profile", help="of the command line; default: the file's")
    options = parser.parse_args()
    client = tailor.Client(profile=options.profile)
    job = client.job(options.job)
    run = {"mlflow": MlflowRun, "wandb": WandbRun}[options.to](options.project, job)
    for point in client.metrics(job["id"], follow=True):
        run.point(point["step"], point["time_ms"], point["values"])
    job = client.job(job["id"])
    facts = {name: str(job[name]) for name in ("state", "output_model", "output_version", "gate_decision", "failure_class",
                                               "failure_message", "spec_digest", "numerics") if name in job}
    run.end(facts, job["state"] == "succeeded")


if __name__ == "__main__":
    try:
        main()
    except tailor.Error as error:
        sys.exit(f"forward.py: {error}")
    except ImportError as error:
        sys.exit(f"forward.py: {error}: pip install it where this runs")
