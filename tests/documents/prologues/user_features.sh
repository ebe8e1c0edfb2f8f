source "$REPOSITORY/tests/documents/prologues/features.sh"
# A device and a place for every click.
awk -F, 'NR == 1 {print $0 ",device,place"; next}
  {print $0 "," (NR % 3 ? "phone" : "tv") "," (NR % 5 ? "home" : "shop")}' events.csv > more.csv
mv more.csv events.csv
