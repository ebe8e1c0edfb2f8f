"""One line for what ExampleValidator found."""

import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2

from pipelines.tfx import anomalies
from recall.errors import InputError

ERROR, WARNING = anomalies_pb2.AnomalyInfo.ERROR, anomalies_pb2.AnomalyInfo.WARNING


def write(folder, severity=ERROR, features=("user_id",), dataset=None):
    found = anomalies_pb2.Anomalies()
    for name in features:
        info = found.anomaly_info[name]
        info.severity, info.short_description = severity, "Column dropped"
        info.description = "Column is completely missing."
    if dataset is not None:
        found.dataset_anomaly_info.severity = dataset
        found.dataset_anomaly_info.reason.add(description="Fewer examples than the last span.")
    (folder / "SchemaDiff.pb").write_bytes(found.SerializeToString())


def test_a_log_that_keeps_to_its_schema_passes(tmp_path):
    write(tmp_path, features=())
    anomalies.require_none(tmp_path, "schema")


def test_what_is_no_error_passes(tmp_path):
    write(tmp_path, severity=WARNING, dataset=WARNING)
    anomalies.require_none(tmp_path, "schema")


def test_an_error_is_one_line(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError) as raised:
        anomalies.require_none(tmp_path, "my/schema")
    assert str(raised.value) == (
        "The log breaks its schema (user_id: Column is completely missing). Nothing was trained. "
        f"Mend the log, or the schema in my/schema; {tmp_path}/SchemaDiff.pb has the details."
    )


def test_errors_of_the_whole_log_count_too(tmp_path):
    write(tmp_path, features=(), dataset=ERROR)
    with pytest.raises(InputError, match="Fewer examples than the last span"):
        anomalies.require_none(tmp_path, "schema")


def test_many_are_counted(tmp_path):
    write(tmp_path, features=[f"f{i}" for i in range(7)])
    with pytest.raises(InputError, match=r"f4: Column is completely missing and 2 more\)"):
        anomalies.require_none(tmp_path, "schema")


def test_a_missing_file_is_told_of(tmp_path):
    with pytest.raises(InputError, match=r"SchemaDiff\.pb: No such file"):
        anomalies.require_none(tmp_path, "schema")
