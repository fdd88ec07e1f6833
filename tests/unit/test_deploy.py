"""What deploy/ and docs/operate.md name exists: settings, commands, lanes, metrics. No container engine is needed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from pipeline.settings import Settings
from workers import metrics
from workers.cli import COMMANDS, _load
from workers.lanes import LANES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "lenswatch:" in service["image"]}


def setting_names(model: type[BaseModel] = Settings, prefix: str = "LENSWATCH_") -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        group = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        path = f"{prefix}{name.upper()}"
        names |= setting_names(field.annotation, f"{path}__") if group else {path}
    return names


@pytest.mark.parametrize("service", OURS)
def test_settings_of_a_service_exist(service):
    assert set(OURS[service]["environment"]) <= setting_names()


@pytest.mark.parametrize("service", [name for name in OURS if name != "migrate"])
def test_command_of_a_service_parses(service):
    words = [*OURS[service].get("entrypoint", ["lenswatch"]), *OURS[service]["command"]]
    assert words[0] == "lenswatch"
    assert words[1] in COMMANDS
    command, arguments = _load(words[1]), words[2:]
    context = click.Context(command, info_name=words[1])
    while isinstance(command, click.Group):
        _, command, arguments = command.resolve_command(context, arguments)
    command.make_context(words[1], list(arguments))


def test_every_lane_has_a_worker():
    served = {service["command"][2] for name, service in OURS.items() if name.startswith("worker-")}
    assert served == set(LANES)


def test_secrets_have_no_default():
    text = (DEPLOY / "compose.yaml").read_text()
    for name in re.findall(r"\$\{(\w*(?:PASSWORD|KEY|KEYS|SECRET|SECRETS)\w*)", text):
        optional = {"GRAFANA_PASSWORD", "LENSWATCH_OIDC_CLIENT_SECRET"}  # without Grafana, without a provider
        assert f"${{{name}:?}}" in text or name in optional
    example = (DEPLOY / "lenswatch.env.example").read_text()
    filled = re.findall(r"^\w*(?:PASSWORD|KEY|KEYS|SECRET|SECRETS)=.+", example, re.MULTILINE)
    assert filled == ["LENSWATCH_DOOR_SECRETS='{}'"]  # nobody's
    wanted = set(re.findall(r"\$\{(\w+):\?\}", text))
    assert wanted <= set(re.findall(r"^(\w+)=", example, re.MULTILINE))


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_containers_have_no_rights(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]  # noqa: S108
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    if name == "minio-volume":  # gives a volume its owner, and ends
        assert (service["cap_add"], service["network_mode"]) == (["CHOWN"], "none")
        return
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)
    assert service.get("user", "10001").partition(":")[0] not in {"0", "root"}
    assert "user" in service or service["image"].startswith("lenswatch")  # whose user the Dockerfile says


def test_our_images_run_as_a_user_without_rights():
    stages = re.split(r"^FROM ", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    assert len(stages) == 4
    assert all(re.search(r"^USER [1-9]\d+$", stage, re.MULTILINE) for stage in stages)


def test_the_dockerfile_copies_what_exists_and_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored


def exported() -> set[str]:
    """Names under which Prometheus finds our metrics."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    families = [
        family
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
    ]
    return {family.name + suffix for family in families for suffix in suffixes[family.type]}


@pytest.mark.parametrize("path", ["prometheus/alerts.yml", "grafana/dashboards/lenswatch.json"])
def test_dashboards_and_alerts_use_real_metrics(path):
    used = set(re.findall(r"\blenswatch_\w+", (DEPLOY / path).read_text()))
    assert used
    assert used <= exported()


def test_every_metric_is_on_the_dashboard():
    used = (DEPLOY / "grafana/dashboards/lenswatch.json").read_text()
    families = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in exported()}
    assert [name for name in sorted(families) if name not in used] == []


def test_dashboard_panels_do_not_overlap():
    panels = json.loads((DEPLOY / "grafana/dashboards/lenswatch.json").read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_prometheus_scrapes_every_process_that_offers_metrics():
    scraped = {
        name
        for job in yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
        for config in job["dns_sd_configs"]
        for name in config["names"]
    }
    offering = {name for name in OURS if name in {"web", "consumer"} or name.startswith("worker-")}
    assert scraped == offering | {"triton"}


def test_every_setting_is_documented():
    documented = set(re.findall(r"`(LENSWATCH_\w+)`", (ROOT / "docs" / "operate.md").read_text()))
    assert setting_names() - documented == set()
    assert documented - setting_names() <= {"LENSWATCH_SITE_PACKAGES"}
