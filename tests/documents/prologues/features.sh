source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_log
# A year, a price, shops and a last day for every item.
awk -F, 'NR == 1 {print $0 ",year,price,shop,sold_until"; next}
  {print $0 "," 1980 + NR % 40 "," NR % 17 + .5 "," (NR % 2 ? "north|east" : "south") ",2100-01-01"}' \
  items.csv > with_columns.csv
mv with_columns.csv items.csv
recall() {
  case "$*" in
    run*) command recall "$@" --set=train.max_epochs=1 --set='evaluation.thresholds=[]' ;;
    *) command recall "$@" ;;
  esac
}
# A country and an age for every user.
{
  echo "user_id,country,age"
  tail -n +2 events.csv | cut -d, -f1 | sort -u |
    awk '{print $0 "," (NR % 2 ? "NL" : "DE") "," 20 + NR % 50}'
} > users.csv
