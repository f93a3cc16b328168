"""The Kubernetes manifests against Kubernetes' own schemas, against each other, and against `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml

import edge_triton
from edge_triton.metrics import Metrics
from mvstylizer_cli import main as cli

FOLDER = Path(edge_triton.__file__).parent / "container"
VERSIONS = ("1.28", "1.37")


def resources(name: str) -> dict[str, dict[str, Any]]:
    """Return the resources of a file by kind."""
    found = list(yaml.safe_load_all((FOLDER / name).read_text()))
    assert len(found) == len({each["kind"] for each in found})
    return {each["kind"]: each for each in found}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["kubernetes.yaml", "autoscale.yaml"])
def test_manifests_follow_the_schemas(name: str, version: str) -> None:
    for resource in resources(name).values():
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_schemas_find_a_wrong_field() -> None:
    resource = resources("kubernetes.yaml")["Deployment"]
    resource["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, VERSIONS[-1], strict=True)


def test_parts_fit_together_and_options_exist() -> None:
    kinds = resources("kubernetes.yaml")
    deployment = kinds["Deployment"]
    pod = deployment["spec"]["template"]
    (edge,) = pod["spec"]["containers"]
    command: Any = typer.main.get_command(cli.app)
    options = {option for parameter in command.commands["serve"].params for option in parameter.opts}
    assert {argument.partition("=")[0] for argument in edge["args"]} <= options
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert kinds["Service"]["spec"]["selector"] == labels
    assert kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"]: port["containerPort"] for port in edge["ports"]}
    assert ports == {"grpc": 8001, "health": 8002}
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in edge["volumeMounts"]} == volumes


def test_both_autoscalers_use_a_metric_that_exists_and_one_scale() -> None:
    deployment = resources("kubernetes.yaml")["Deployment"]
    native = resources("autoscale.yaml")["HorizontalPodAutoscaler"]["spec"]
    keda = resources("keda.yaml")["ScaledObject"]["spec"]
    name = deployment["metadata"]["name"]
    assert native["scaleTargetRef"]["name"] == keda["scaleTargetRef"]["name"] == name
    assert native["minReplicas"] == keda["minReplicaCount"] == deployment["spec"]["replicas"]
    assert native["maxReplicas"] == keda["maxReplicaCount"]
    (metric,), (trigger,) = native["metrics"], keda["triggers"]
    gauge = metric["pods"]["metric"]["name"]
    assert gauge in trigger["metadata"]["query"]
    assert metric["pods"]["target"]["averageValue"] == trigger["metadata"]["threshold"]
    guarded = Metrics()
    from edge_triton.gateway.guard import Guard, Limits

    Guard(Limits(), guarded, None)
    assert f"\n{gauge} 0.0\n" in guarded.text()
