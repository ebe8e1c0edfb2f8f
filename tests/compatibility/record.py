"""Makes the artefacts of a version and records what its server answers; README.md has the command.

Runs with the code of the commit whose artefacts are wanted, so it only uses the command
`recall` and the HTTP door.
"""

import json
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

SETTINGS = (
    "model.dim=8",
    "model.feed_forward_dim=8",
    "model.num_blocks=1",
    "model.num_heads=1",
    "model.num_interests=2",
    "model.max_history_length=5",
    "model.use_categories=true",
    "train.max_epochs=1",
    "train.batch_slots=64",
    "index.kind=exact",
    "evaluation.thresholds=[]",
)

REQUESTS = (
    {"history": ["i3", "i7"], "k": 8},
    {"history": ["i3", "nothing", "new"], "k": 30},
    {"history": [], "k": 5},
    {"similar_to": ["i5"], "k": 5},
    {"history": ["i1", "i2"], "k": 6, "exclude": ["i9"], "include_seen": True, "exact": True},
    {"history": ["i1"], "k": 4, "categories": ["red"]},
    {"history": ["i1", "i8"], "k": 6, "max_per_category": 2, "merge": "quota"},
)
"""Bodies of `POST /recall`, asked after the changes of items."""

UPSERTS = {
    "items": [{"id": "new", "categories": ["red"], "title": "New"}, {"id": "i4", "title": "4"}]
}
DELETIONS = {"ids": ["i6", "gone"]}


def recall(*words: str) -> list[str]:
    """A command of this interpreter's code."""
    return [sys.executable, "-m", "pipelines.cli", *words]


def post(address: str, path: str, document: dict) -> dict:
    """The answer of an HTTP door."""
    request = urllib.request.Request(f"http://{address}{path}", json.dumps(document).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def write_log(folder: Path) -> None:
    """60 users, 30 items, three categories; what comes next is the item after, now and then."""
    rows = ["user_id,item_id,timestamp"]
    for user in range(60):
        for click in range(8):
            item = (user * 7 + click * (1 + user % 3)) % 30
            rows.append(f"u{user},i{item},{1_700_000_000 + user * 100 + click}")
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    colours = ("blue", "green", "red")
    items = [f"i{item},{colours[item % 3]},Item {item}" for item in range(30)]
    (folder / "items.csv").write_text("\n".join(["item_id,category,title", *items]) + "\n")


def main(work_dir: str, archive: str) -> None:
    """Makes everything below `work_dir` and packs it into `archive` (`.tar.xz`)."""
    folder = Path(work_dir)
    folder.mkdir(parents=True)
    write_log(folder)
    flags = [f"--set={setting}" for setting in SETTINGS]
    # Relative paths: the records of a run hold what was given.
    inputs = ["--events=events.csv", "--items=items.csv", "--output=run"]
    command = recall("run", *inputs, *flags)
    subprocess.run(command, cwd=folder, check=True)
    server = subprocess.Popen(
        recall("serve", "--release=run/serving", "--grpc_port=0", "--http_port=0"),
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = server.stdout.readline().split("http=")[1].strip()
        post(address, "/items:upsert", UPSERTS)
        post(address, "/items:delete", DELETIONS)
        answers = [post(address, "/recall", request) for request in REQUESTS]
    finally:
        server.terminate()
        server.wait()
    recorded = [{"request": r, "answer": a} for r, a in zip(REQUESTS, answers, strict=True)]
    (folder / "answers.json").write_text(json.dumps(recorded, indent=1) + "\n")
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for name in ("events.csv", "items.csv", "answers.json", "run"):
            packed.add(folder / name, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
