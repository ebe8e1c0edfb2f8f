"""The files of `deploy/`, by the tools of their makers, and against the program they start.

No image is built, for want of containers where the project is; what a build does is done by hand.
"""

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest import mock

import pytest
import yaml

import recall
from pipelines import cli
from serving.http_door.routes import build_routes

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("docker/*.Dockerfile"))
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))
COMPOSE = DEPLOY / "compose" / "compose.yaml"
UNITS = sorted(DEPLOY.glob("systemd/*.*"))
INSTALLED = "/".join(("", "opt", "recall", "venv", "bin", "recall"))
PATHS = {route.path for route in build_routes(mock.MagicMock(metrics_paths=()))}


def by_path(path):
    return path.relative_to(ROOT).as_posix()


def run(*words, **options):
    """The exit code and all that a program says; a tool of this environment, or of the machine."""
    name, *arguments = map(str, words)
    own = Path(sys.executable).with_name(name)
    program = str(own) if own.exists() else shutil.which(name)
    if program is None:
        pytest.skip(f"there is no {name} here")
    result = subprocess.run(
        [program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        **options,
    )
    return result.returncode, result.stdout


def documents(path):
    """The objects of a manifest."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def objects():
    """(kind, name) -> object, of all manifests."""
    found = [document for path in MANIFESTS for document in documents(path)]
    return {(d["kind"], d["metadata"]["name"]): d for d in found}


def pods():
    """Name of the workload -> its pod."""
    every = objects()
    job = every["CronJob", "recall-nightly"]["spec"]["jobTemplate"]["spec"]
    return {
        "serve": every["Deployment", "recall-serve"]["spec"]["template"],
        "nightly": job["template"],
    }


def instructions(dockerfile, word):
    """The arguments of an instruction, wherever it stands, with its lines joined."""
    text = re.sub(r"\\\n", " ", dockerfile.read_text(encoding="utf-8"))
    return re.findall(rf"^{word} (.+)$", text, re.MULTILINE)


def command_lines():
    """Place -> words after `recall`, of everything here that starts it."""
    found = {
        by_path(file): json.loads(instructions(file, "CMD")[-1])
        for file in DOCKERFILES
        if not instructions(file, "CMD")[-1].endswith('"--help"]')
    }
    compose = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    found["compose"] = compose["services"]["recall"]["command"]
    found |= {name: pod["spec"]["containers"][0]["args"] for name, pod in pods().items()}
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE):
            program, *words = shlex.split(line)
            assert program == INSTALLED
            found[by_path(unit)] = words
    return found


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=by_path)
def test_hadolint_has_no_remark(dockerfile):
    assert run("hadolint", dockerfile) == (0, "")


def test_yamllint_has_no_remark():
    assert run("yamllint", "--strict", "-c", DEPLOY / "yamllint.yaml", DEPLOY) == (0, "")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=by_path)
def test_kubernetes_knows_every_key(manifest):
    code, output = run("kubernetes-validate", "--strict", manifest)
    assert code == 0, output
    assert output.count("passed for resource") == len(documents(manifest))


def test_compose_understands_its_file():
    code, output = run("docker-compose", "-f", COMPOSE, "config", env={"RECALL_RUN": "runs/mine"})
    assert code == 0, output
    services = yaml.safe_load(output)["services"]
    (release,) = services["recall"]["volumes"]
    assert release["source"] == str(ROOT / "runs" / "mine" / "serving")
    for service in services.values():
        for volume in service["volumes"]:
            is_of_the_source = "runs" not in Path(volume["source"]).parts
            assert not is_of_the_source or Path(volume["source"]).exists(), volume


def test_compose_says_which_folder_it_needs():
    code, output = run("docker-compose", "-f", COMPOSE, "config", env={})
    assert code != 0
    assert "RECALL_RUN" in output
    assert "names the folder of a run" in output


def test_prometheus_of_compose_is_the_one_beside_it_in_another_network():
    here, there = (
        yaml.safe_load((DEPLOY / folder / "prometheus.yml").read_text())
        for folder in ("compose", "monitoring")
    )
    (job,) = here["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["recall:8501"]}]
    job["static_configs"] = there["scrape_configs"][0]["static_configs"]
    assert here == there
    code, output = run(
        "promtool", "check", "config", "--syntax-only", DEPLOY / "compose/prometheus.yml"
    )
    assert code == 0, output


def test_systemd_understands_its_units(tmp_path):
    program = tmp_path / "recall"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = []
    for unit in UNITS:
        units.append(tmp_path / unit.name)
        units[-1].write_text(unit.read_text().replace(INSTALLED, str(program)))
    assert run("systemd-analyze", "verify", *units) == (0, "")


@pytest.mark.parametrize("place", command_lines())
def test_every_flag_is_one_of_the_command(place):
    name, *words = command_lines()[place]
    _, rest = cli.parse(name, words)
    assert rest == []


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=by_path)
def test_what_is_copied_is_enough_to_install(dockerfile, tmp_path):
    """The build's own steps, without its environment: the package of the copied files."""
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    sent = {line[1:] for line in ignored if line.startswith("!")}
    for words in instructions(dockerfile, "COPY"):
        *sources, target = words.split()
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            assert any(fnmatch.fnmatch(source, pattern) for pattern in sent), source
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, tmp_path / target / ("" if copy is shutil.copy else "."))
    (install,) = (words for words in instructions(dockerfile, "RUN") if "build-isolation" in words)
    extra = re.search(r"'\.\[(\w+)\]'", install)[1]
    assert f"recall-{extra}" in dockerfile.read_text()
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    code, output = run("python", "-m", "pip", *words, "-w", tmp_path / "out", tmp_path)
    assert code == 0, output
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(n).decode() for n in names if n.endswith(".dist-info/METADATA"))
    assert "serving/pages/app.js" in names
    assert f"Provides-Extra: {extra}\n" in metadata


def test_probes_ask_what_the_server_answers():
    (container,) = pods()["serve"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "http": 8501}
    probes = {k: v["httpGet"] for k, v in container.items() if k.endswith("Probe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/readyz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/healthz",
    }
    for probe in probes.values():
        assert probe["path"] in PATHS
        assert probe["port"] == "http"


def test_objects_find_each_other():
    every, pod = objects(), pods()["serve"]
    labels = pod["metadata"]["labels"]
    deployment = every["Deployment", "recall-serve"]["spec"]
    assert deployment["selector"]["matchLabels"] == labels
    assert every["Service", "recall"]["spec"]["selector"] == labels
    assert every["PodDisruptionBudget", "recall-serve"]["spec"]["selector"]["matchLabels"] == labels
    target = every["HorizontalPodAutoscaler", "recall-serve"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in every
    assert "replicas" not in deployment  # Else every `kubectl apply` undoes the autoscaler.
    names = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in every["Service", "recall"]["spec"]["ports"]} == names
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods().values()
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {name for kind, name in every if kind == "PersistentVolumeClaim"}


def test_the_server_reads_what_the_job_writes():
    """The same volume, the same folder, and both may write there."""
    serve, nightly = (pods()[name]["spec"] for name in ("serve", "nightly"))
    words = {name: lines for name, lines in command_lines().items() if name in pods()}
    (output,) = (w.split("=")[1] for w in words["nightly"] if w.startswith("--output="))
    assert f"--release={output}/serving" in words["serve"]
    for pod in (serve, nightly):
        assert {"name": "runs", "mountPath": "/runs"} in pod["containers"][0]["volumeMounts"]
        assert pod["securityContext"]["runAsUser"] == 10001
    assert all("--uid 10001 " in file.read_text() for file in DOCKERFILES)


def test_images_are_those_of_this_version():
    version = ".".join(recall.__version__.split(".")[:2])
    images = {pod["spec"]["containers"][0]["image"] for pod in pods().values()}
    built = {f"recall-{file.name.split('.')[0]}:{version}" for file in DOCKERFILES}
    assert images == built


def test_a_server_has_time_to_drain():
    spec = pods()["serve"]["spec"]
    (drain_s,) = (
        float(word.split("=")[1])
        for word in spec["containers"][0]["args"]
        if word.startswith("--drain_s=")
    )
    assert spec["terminationGracePeriodSeconds"] > drain_s + 30
    readiness = spec["containers"][0]["readinessProbe"]
    # So long after SIGTERM, at most, nobody sends it anything new.
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < drain_s
