source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_log
# The log as it was the day before: without the latest clicks, and without some items.
mv events.csv whole.csv
head -1 whole.csv > until-monday.csv
tail -n +2 whole.csv | sort -t, -k3,3g | head -n -400 | awk -F, '$2 % 20' >> until-monday.csv
head -1 whole.csv > until-tuesday.csv
tail -n +2 whole.csv | sort -t, -k3,3g >> until-tuesday.csv
cp until-tuesday.csv events.csv
export -f recall
