"""An interpreter that runs the Python blocks of a page, one JSON text per line, in one namespace.

A program of its own (`python python_session.py NUMBER`): what a page does to its process, as a
TensorFlow that was imported, stays there. Answers are lines of JSON on the descriptor NUMBER.
"""

import json
import os
import sys
import traceback


def main() -> None:
    """Reads blocks until the input ends."""
    answers = os.fdopen(int(sys.argv[1]), "w")
    namespace = {"__name__": "__main__"}
    for line in sys.stdin:
        block = json.loads(line)
        error = None
        try:
            # The lines before it are those of the page, so that a traceback names the page's line.
            code = compile("\n" * block["line"] + block["text"], block["page"], "exec")
            exec(code, namespace)
        except BaseException:
            error = traceback.format_exc()
        sys.stdout.flush()
        print(json.dumps({"error": error}), file=answers, flush=True)


if __name__ == "__main__":
    main()
