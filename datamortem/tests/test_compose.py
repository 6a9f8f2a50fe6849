"""What docker/ holds: a stack without a weak service, and an image of files that are there.

That the commands of the stack run is for `test_stack`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from cases.tasks.life import sign_of_life

ROOT: Final = Path(__file__).parents[2]
DOCKER: Final = ROOT / "docker"
STACK: Final = yaml.safe_load((DOCKER / "compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = STACK["services"]
#: Only what a service asks its own process, through its own loopback.
OURS: Final = ("migrate", "web", "worker")


def test_the_stack_has_the_services_that_the_documentation_names() -> None:
    assert set(SERVICES) == {"migrate", "web", "worker", "db", "search", "redis"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    user = str(service["user"]).partition(":")[0]
    assert user.isdecimal()
    assert int(user) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert not {"network_mode", "pid", "ipc", "devices", "extra_hosts"} & set(service)
    assert service["mem_limit"]
    assert int(service["pids_limit"]) > 0
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert any(entry.startswith(("/tmp", "/data")) for entry in service["tmpfs"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_a_service_that_stays_says_whether_it_is_well_and_comes_back(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["stop_grace_period"]


def test_nobody_outside_reaches_anything_but_the_site_and_that_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"web": ["${WEB_PORT:-127.0.0.1:8000}:8000"]}
    assert STACK["networks"]["inside"]["internal"] is True
    for name in set(SERVICES) - set(OURS):
        assert SERVICES[name]["networks"] == ["inside"]


def test_images_of_others_are_pinned_to_a_version() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    images = {service["image"] for name, service in SERVICES.items() if name not in OURS}
    assert len(bases) == 1
    for image in images | bases:
        assert re.search(r":\d+\.\d+(\.\d+)?(-[a-z-]+)?$", image), image


def test_volumes_and_networks_are_declared_and_used() -> None:
    used = {
        volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())
    }
    assert used == set(STACK["volumes"])
    assert {network for service in SERVICES.values() for network in service["networks"]} == set(
        STACK["networks"]
    )


def test_what_a_service_waits_for_is_there_and_can_be_waited_for() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert SERVICES[other]["restart"] == "no"
    assert "migrate" in SERVICES["web"]["depends_on"]
    assert not {"search", "redis"} & set(SERVICES["web"]["depends_on"])  # the site goes on without them


def test_every_variable_is_in_the_example_and_no_secret_has_a_default() -> None:
    text = (DOCKER / "compose.yml").read_text()
    example = set(re.findall(r"^#?([A-Z_]+)=", (DOCKER / "env.example").read_text(), re.MULTILINE))
    used = dict(re.findall(r"\$\{([A-Z_]+)(:[-?])?", text))
    assert used
    assert set(used) <= example
    assert {name for name, kind in used.items() if kind == ":?"} == {"POSTGRES_PASSWORD"}
    assert all(used.values())
    for name in OURS:
        assert SERVICES[name]["env_file"] == ".env"


def _instructions() -> list[list[str]]:
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_every_file_the_image_copies_is_there_and_none_is_kept_out_of_the_build() -> None:
    let_in = {
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    sources = [
        source
        for words in _instructions()
        if words[0] == "COPY" and not words[1].startswith("--from")
        for source in words[1:-1]
    ]
    assert len(sources) > 5
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in let_in, source
    assert {"manage.py", "accounts", "cases", "datamortem", "scripts_marketplace"} <= set(sources)


def test_the_image_installs_by_hash_builds_nothing_and_runs_as_nobody_special() -> None:
    words = _instructions()
    text = (DOCKER / "Dockerfile").read_text()
    assert "--require-hashes --only-binary :all:" in text
    assert not re.search(r"build-essential|gcc|git\b|curl|wget", text)
    users = [line[1] for line in words if line[0] == "USER"]
    assert users == ["10001:10001"]
    assert {SERVICES[name]["user"] for name in OURS} == set(users)
    assert next(line for line in words[::-1] if line[0] not in ("CMD", "EXPOSE"))[0] == "USER"
    assert not any(
        line[0] in ("ENV", "ARG") and re.search("KEY|PASSWORD|TOKEN", " ".join(line)) for line in words
    )


def test_what_the_image_leaves_out_is_not_needed_to_run(tmp_path: Path) -> None:
    """The image's files alone, copied as it copies them, serve and migrate."""
    for words in _instructions():
        if words[0] != "COPY" or words[1].startswith("--from"):
            continue
        for source in words[1:-1]:
            target = tmp_path / "image" / source
            if source == "requirements.txt" and words[-1].startswith("/tmp"):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = ["cp", "-r", str(ROOT / source), str(target)]
            subprocess.run(copy, check=True)
    for tests in (tmp_path / "image").rglob("tests"):
        subprocess.run(["rm", "-r", str(tests)], check=True)
    environment = {"PATH": os.environ["PATH"], "DATAMORTEM_HOME": str(tmp_path / "home")}
    for command in ("import datamortem.wsgi", "import cases.child, cases.tasks.carried"):
        subprocess.run(
            [sys.executable, "-c", f"import django; django.setup(); {command}"],
            cwd=tmp_path / "image",
            env={**environment, "DJANGO_SETTINGS_MODULE": "datamortem.settings"},
            check=True,
        )


def probe(*arguments: str, **variables: str) -> int:
    return subprocess.run(
        [sys.executable, "docker/probe.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        check=False,
    ).returncode


def test_the_probe_of_a_worker_sees_its_own_life_and_no_other(settings: Any, tmp_path: Path) -> None:
    settings.WORK_ROOT = tmp_path / "work"
    assert probe("worker", DATAMORTEM_HOME=str(tmp_path)) == 1
    with sign_of_life():
        assert probe("worker", DATAMORTEM_HOME=str(tmp_path)) == 0
        (sign,) = (tmp_path / "work" / "workers").glob("*.json")
        told = sign.read_text()
        sign.write_text('{"worker": "elsewhere-1:7"}')
        assert probe("worker", DATAMORTEM_HOME=str(tmp_path)) == 1
        sign.write_text(told)
        old = time.time() - 60
        os.utime(sign, (old, old))
        assert probe("worker", DATAMORTEM_HOME=str(tmp_path)) == 1


def test_the_probe_of_the_site_asks_by_its_name(live_server: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["cases.example"]
    url = f"{live_server.url}/healthz"
    assert probe(url, PUBLIC_URL="https://cases.example") == 0
    assert probe(url, PUBLIC_URL="https://other.example") == 1
    assert probe("http://127.0.0.1:9/healthz") == 1
