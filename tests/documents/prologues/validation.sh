source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_log
cp events.csv tuesday.csv
recall run --events=events.csv --items=items.csv --output=runs/monday
