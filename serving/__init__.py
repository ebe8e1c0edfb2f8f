"""What runs in production: the process that serves a release, room by room.

The first line of each folder's `__init__.py` says what is in it, and
`tests/serving_rooms_test.py` which folders it may use. Imports nothing from
`pipelines`. Of `recall`, only `release` uses the models.
"""

import recall  # noqa: F401  (selects Keras 2 before TensorFlow is imported)
