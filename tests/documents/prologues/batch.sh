source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_run
