source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_run
recall run --events=events.csv --items=items.csv --output=runs/smaller --set=model.dim=16
