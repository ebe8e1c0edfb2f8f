# Sourced by the prologues: what a reader has before the first command.

# A log with ids that are numbers, and its items: events.csv, items.csv.
make_log() {
  command recall synthesize --output=log --users="${1:-300}" --items="${2:-100}"
  gunzip -c log/events.csv.gz | sed 's/,i\([0-9]\)/,\1/' > events.csv
  gunzip -c log/items.csv.gz | sed 's/^i\([0-9]\)/\1/' > items.csv
}

# Trainings of one epoch. Such a model need not beat anything, so nothing is asked of it,
# unless the page does.
recall() {
  case "$*" in
    run*tuning/best.json*) command recall "$@" --set=train.max_epochs=1 --set='evaluation.thresholds=[]' ;;
    run*thresholds*) command recall "$@" --set=train.max_epochs=10 ;;
    run*--config* | runs*) command recall "$@" ;;
    run* | evaluate*) command recall "$@" --set=train.max_epochs=1 --set='evaluation.thresholds=[]' ;;
    train* | tune*) command recall "$@" --set=train.max_epochs=1 ;;
    synthesize*--users=3330000*) command recall "$@" --users=300 --items=100 ;;
    *) command recall "$@" ;;
  esac
}

# A finished run in runs/mine.
make_run() {
  make_log
  recall run --events=events.csv --items=items.csv --output=runs/mine "$@"
}
