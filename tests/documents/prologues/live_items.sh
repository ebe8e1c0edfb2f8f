source "$REPOSITORY/tests/documents/prologues/shared.sh"
make_run --set=model.use_categories=true
category=$(sed -n 2p items.csv | cut -d, -f2)
printf 'item_id,category,title\n901,%s,New\n' "$category" > new_items.csv
