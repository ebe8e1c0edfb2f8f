source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_log
# The Makefile sets up an environment that this test already runs in.
make() { command make --dry-run --directory="$REPOSITORY" "$@" > /dev/null; }
mkdir -p .venv/bin
echo > .venv/bin/activate
