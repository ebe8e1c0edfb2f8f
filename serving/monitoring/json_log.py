"""Log lines as JSON, one object per line, for collectors of logs.

Imports no TensorFlow.
"""

import json
import logging

from serving.monitoring.access_log import format_time


class JsonFormatter(logging.Formatter):
    """A record as one JSON object; those of the access log have their fields as keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break."""
        document = {
            "time": format_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            **(getattr(record, "fields", None) or {"message": record.getMessage()}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Time and message; lines of the access log, which have a time, as they are."""

    def __init__(self):
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line, with a traceback where there is one."""
        return record.getMessage() if hasattr(record, "fields") else super().format(record)
