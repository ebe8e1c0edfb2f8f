import re
from pathlib import Path

import pytest

from recall.errors import InputError
from serving.protocol import text_config, tf_serving_config_pb2

PROTO = Path(tf_serving_config_pb2.__file__).with_name("tf_serving_config.proto")


def test_the_generated_file_is_that_of_the_proto():
    described = {
        (name, field.name, field.number)
        for name, message in tf_serving_config_pb2.DESCRIPTOR.message_types_by_name.items()
        for field in message.fields
    }
    written = {
        (name, field, int(number))
        for name, body in re.findall(r"message (\w+) \{(.*?)\}", PROTO.read_text(), re.DOTALL)
        for field, number in re.findall(r"(\w+) = (\d+);", body)
    }
    assert len(written) == 10
    assert described == written


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("BatchingParameters", "max_batch: 3", "BatchingParameters"),
        ("MonitoringConfig", "prometheus_config { port: 3 }", "PrometheusConfig"),
    ],
)
def test_errors_name_messages_as_tf_serving_does(tmp_path, kind, text, message):
    path = tmp_path / "some.config"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        text_config.read_message(path, getattr(tf_serving_config_pb2, kind), "flag")
    field = re.search(r"(\w+): 3", text).group(1)
    assert str(caught.value).startswith(f"--flag={path} is no {kind} in text form: line 1:")
    assert f'"tensorflow.serving.{message}" has no field named "{field}"' in str(caught.value)
