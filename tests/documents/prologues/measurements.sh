# The commands of the measurements on a log of 300 users and 100 items, each once and short:
# that they run as written, not that they give the numbers again.
source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_log
mkdir beauty ml-1m
gzip -c events.csv | tee beauty/events.csv.gz > ml-1m/events.csv.gz
gzip -c items.csv | tee beauty/items.csv.gz > ml-1m/items.csv.gz
