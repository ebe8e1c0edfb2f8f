"""What a run has of its users, by hand: clicks, and what a request says beside them."""

import json

import pytest
import tensorflow as tf

from pipelines.api.stored_users import StoredUsers
from pipelines.inference.contexts import NOTHING_BESIDE, Wanted
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources.users import UsersFile
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn

T0 = 1_704_412_800
ROWS = [
    # user, item, seconds after T0, device, price
    ("u1", "a", 10, "tv", "1"),
    ("u1", "b", 20, " phone ", ""),
    ("u1", "c", 300, "", "3"),
    ("u1", "d", 310, "tv", "5"),
    ("u1", "e", 320, "watch", "7"),
    ("u2", "b", 50, "phone", "3"),
    ("u2", "a", 60, "tv", "1"),
    ("u2", "c", 70, "tv", "2"),
    ("u2", "d", 80, "phone", "9.5"),
]
USERS = "user_id,country,tags,age,taste,words\nnew,NL,x,1,,\nu2,BE,x|y,31,0.5 2,red shoe\n"
COLUMNS = (
    FeatureColumn("device", "event", "categorical"),
    FeatureColumn("paid", "event", "numeric", column="price"),
    FeatureColumn("country", "user", "categorical"),
    FeatureColumn("tags", "user", "categorical", max_values=2),
    FeatureColumn("age", "user", "numeric"),
    FeatureColumn("taste", "user", "vector", dim=2),
    FeatureColumn("words", "user", "text"),
    FeatureColumn("screen", "request", "categorical", column="device"),
)
WANTED = Wanted(times=True, features=COLUMNS[:2], of_users=COLUMNS[2:])


@pytest.fixture(scope="module", name="examples_dir")
def _examples_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    lines = [",".join([u, i, str(T0 + t), *more]) for u, i, t, *more in ROWS]
    head = "user_id,item_id,timestamp,device,price"
    (folder / "log.csv").write_text("\n".join([head, *lines]) + "\n")
    (folder / "users.csv").write_text(USERS)
    source = open_events(str(folder / "log.csv"))
    source.users_file = UsersFile(str(folder / "users.csv"))
    columns = json.dumps([column.to_dict() for column in COLUMNS])
    settings = [f"features.columns={columns}", "model.time_bias=true", "ingest.num_shards=2"]
    ingest.run_ingest(source, None, folder / "examples", RecallConfig().override(settings))
    return folder / "examples"


def test_all_that_is_known_of_a_user_of_the_users_file(examples_dir):
    (user,) = StoredUsers(examples_dir).read(["u2"], WANTED)
    assert user.history == ("b", "a", "c", "d")
    assert user.context == {
        "history_device": ["phone", "tv", "tv", "phone"],
        "history_paid": [3.0, 1.0, 2.0, 9.5],
        "history_timestamps": [T0 + 50, T0 + 60, T0 + 70, T0 + 80],
        "request_timestamp": T0 + 320,  # When the log ends.
        "country": "BE",
        "tags": ["x", "y"],
        "age": 31.0,
        "taste": [0.5, 2.0],
        "words": "red shoe",
    }


def test_of_a_user_whom_the_users_file_lacks_the_clicks_are_known(examples_dir):
    (user,) = StoredUsers(examples_dir).read(["u1"], WANTED)
    assert user.history == ("a", "b", "c", "d", "e")
    device = user.context["history_device"]
    assert device[:4] == ["tv", "phone", None, "tv"]
    assert device[4] not in (None, "", "tv", "phone")  # One event has it: out of the vocabulary.
    assert user.context["history_paid"] == [1.0, None, 3.0, 5.0, 7.0]
    assert user.context["history_timestamps"] == [T0 + t for t in (10, 20, 300, 310, 320)]
    assert not user.context.keys() & {"country", "tags", "age", "taste", "words"}


def test_only_what_a_release_looks_at_is_said(examples_dir):
    users = StoredUsers(examples_dir)
    assert users.read(["u2"], NOTHING_BESIDE)[0].context is None
    (user,) = users.read(["u2"], Wanted(of_users=(COLUMNS[2],)))
    assert user.context == {"country": "BE"}


def test_what_a_caller_says_goes_first(examples_dir):
    (user,) = StoredUsers(examples_dir).read(["u2"], Wanted(of_users=COLUMNS[2:5]))
    said = user.with_said({"country": None, "screen": "tv"})
    assert said.history == user.history
    assert said.context == {"country": None, "tags": ["x", "y"], "age": 31.0, "screen": "tv"}
    assert user.with_said(None) == user


def test_somebody_who_is_no_user_of_the_run(examples_dir):
    users = StoredUsers(examples_dir)
    assert sorted(users.user_ids) == ["u1", "u2"]
    with pytest.raises(InputError, match=r"1 of 2 users are unknown, first 'new'.* context=") as e:
        users.read(["u2", "new"], WANTED)  # In the users file, but without clicks.
    assert "\n" not in str(e.value)


def test_examples_of_earlier_versions_lack_features_of_held_out_clicks(examples_dir, tmp_path):
    older = tmp_path / "examples"
    for path in sorted(examples_dir.rglob("*")):
        to = older / path.relative_to(examples_dir)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            continue
        if not path.name.endswith(".tfrecord.gz"):
            to.write_bytes(path.read_bytes())
            continue
        with tf.io.TFRecordWriter(str(to), tf.io.TFRecordOptions("GZIP")) as writer:
            for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
                example = tf.train.Example.FromString(record)
                for name in [n for n in example.features.feature if n.startswith("positive_v")]:
                    del example.features.feature[name]
                writer.write(example.SerializeToString())
    (user,) = StoredUsers(older).read(["u2"], WANTED)
    assert user.context["history_device"] == ["phone", "tv", "tv", None]
    assert user.context["history_paid"] == [3.0, 1.0, 2.0, None]
    assert user.context["history_timestamps"] == [T0 + 50, T0 + 60, T0 + 70, T0 + 80]
