"""Create the workspace of docs/wandb.md in a W&B project: python scripts/wandb_workspace.py <entity>/<project>

--print writes it as JSON instead, without a server. Requires wandb-workspaces (requirements-cluster.txt).
"""

import argparse
import json
import sys

import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces

CURVES = {
    "Training": ("train/loss", "train/learning_rate", "train/gradient_norm"),
    "Speed and memory": ("train/samples_per_second", "train/seconds_per_step", "train/memory_gb"),
    "Validation": ("val/miou", "val/wiou", "val/epe", "val/disoccluded"),
}
SCATTERS = (("model/gflops", "val/miou"), ("model/gflops", "val/streamed_miou"))
MEDIA = ("val/pictures", "val/overlay")
TABLE = "val/iou_per_class"


def build(entity: str, project: str, name: str) -> workspaces.Workspace:
    """Build the workspace as an object, without sending it."""
    accuracy = [panels.ScatterPlot(x=x, y=y, title=f"{y} against {x}") for x, y in SCATTERS]
    sections = [
        workspaces.Section(name="Accuracy against cost", panels=accuracy, is_open=True),
        *(
            workspaces.Section(
                name=title, panels=[panels.LinePlot(x="trainer/global_step", y=[key], title=key) for key in keys], is_open=True
            )
            for title, keys in CURVES.items()
        ),
        workspaces.Section(name="Classes", panels=[panels.WeavePanelSummaryTable(table_name=TABLE)], is_open=True),
        workspaces.Section(
            name="Pictures and videos", panels=[panels.MediaBrowser(media_keys=[key], title=key) for key in MEDIA], is_open=True
        ),
    ]
    # The group of a run is its experiment, the job type its stage.
    grouped = workspaces.RunsetSettings(groupby=[workspaces.Metric("Group"), workspaces.Metric("JobType")])
    return workspaces.Workspace(entity=entity, project=project, name=name, sections=sections, runset_settings=grouped)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", help="<entity>/<project>")
    parser.add_argument("--name", default="Training and sweeps", help="name of the view")
    parser.add_argument("--print", action="store_true", help="write the workspace as JSON and send nothing")
    options = parser.parse_args(arguments)
    entity, slash, project = options.project.partition("/")
    if not (entity and slash and project) or "/" in project:
        parser.error(f"project is {options.project!r}; expected <entity>/<project>")
    workspace = build(entity, project, options.name)
    if options.print:
        model = workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
        sys.stdout.write(json.dumps(model, indent=1) + "\n")
    else:
        workspace.save()
        sys.stdout.write(f"{workspace.url}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
