# The commands of the measurements on a log of 300 users and 100 items, each once and short:
# that they run as written, not that they give the numbers again.
source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_log
mkdir beauty
gzip -c events.csv > beauty/events.csv.gz
gzip -c items.csv > beauty/items.csv.gz

python() {
  case "$2" in
    tests.benchmarks.quality) command python "$@" --seeds=1 --set=train.max_epochs=1 ;;
    tests.benchmarks.training)
      command python "$@" --catalogues=200 --interests=4 --seq2seq=on --batches=bucketed --steps=3 ;;
    tests.benchmarks.serving)
      command python "$@" --num_items=2000 --seconds=0.5 --changes=5 --concurrency=1 ;;
    tests.benchmarks.leaves) command python "$@" --builds=1 --max_queries=50 ;;
    *) command python "$@" ;;
  esac
}
