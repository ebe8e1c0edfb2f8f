"""What runs in production: bundles, indexes, the recall service, its doors.

Imports nothing from `pipelines`. Of `recall`, only `export` uses the models.
"""

import recall  # noqa: F401  (selects Keras 2 before TensorFlow is imported)
