source "$REPOSITORY/tests/documents/prologues/shared.sh"
