#!/usr/bin/env bash
# A signal that another thread takes is not handled while the main thread waits for an event.
#
# CPython 3.11 (3.10, 3.12 and 3.13 alike). `threading.Event.wait()` can be interrupted by a signal since Python 3.2,
# and one expects that a server whose main thread waits for the event of its SIGTERM handler ends at SIGTERM. But the
# handler runs in the main thread alone, and a signal that is taken by another thread does not wake the main thread:
# it waits on, and the handler runs when something else wakes it, perhaps never. The kernel gives a signal of the
# whole process to another thread where the main thread has one pending already: a server of twelve threads did not
# end in one of seven runs where SIGTERM followed a burst of SIGHUP on busy cores. Here a thread sends the signal to
# itself, so that it happens every time. `signal.sigwait`, `signal.set_wakeup_fd` and a wait of bounded time do not
# lose it.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
cd "$folder"
cat > program.py <<'PROGRAM'
import signal
import sys
import threading
import time

stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())


def beside():
    time.sleep(0.5)  # The main thread waits by then.
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)


threading.Thread(target=beside, daemon=True).start()
started = time.monotonic()
if sys.argv[1] == "bounded":
    while not stopped.wait(0.2):
        pass
else:
    threading.Timer(4.0, signal.pthread_kill, (threading.main_thread().ident, signal.SIGCHLD)).start()
    signal.signal(signal.SIGCHLD, lambda *_: None)  # Wakes the main thread at last, or the script would not end.
    stopped.wait()
waited_s = time.monotonic() - started
print("at once" if waited_s < 2.0 else "not before something else woke the main thread")
PROGRAM
env/bin/python -V
for wait in bounded unbounded; do echo "$wait: $(env/bin/python program.py $wait)"; done | tee output
grep -qx "bounded: at once" output
grep -qx "unbounded: not before something else woke the main thread" output
