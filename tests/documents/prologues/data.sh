# Logs in the layouts of the public ones: six users, eight clicks each.
python - <<'PYTHON'
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SECOND = 1_700_000_000
CLICKS = [(user, (7 * user + step) % 20 + 1, SECOND + 60 * step) for user in range(1, 7) for step in range(8)]


def write(name, lines, encoding="utf-8"):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)


flags = "|".join("1" if place in (3, 5) else "0" for place in range(19))
write("u.data", [f"{u}\t{i}\t3\t{t}" for u, i, t in CLICKS])
write("u.item", [f"{i}|Rosé {i} (1995)|01-Jan-1995||http://a/{i}|{flags}" for i in range(1, 21)], "latin-1")
write("ratings.dat", [f"{u}::{i}::5::{t}" for u, i, t in CLICKS])
write("movies.dat", [f"{i}::Misérables, Les {i} (1995)::Drama|Musical" for i in range(1, 21)], "latin-1")
write("ratings.csv", ["userId,movieId,rating,timestamp", *(f"{u},{i},4.5,{t}" for u, i, t in CLICKS)])
write("movies.csv", ["movieId,title,genres", *(f'{i},"Movie, The {i}",Comedy|Drama' for i in range(1, 21))])
write("ml-100k.inter", [
    "user_id:token\titem_id:token\trating:float\ttimestamp:float",
    *(f"{u}\t{i}\t3\t{t}" for u, i, t in CLICKS),
])
write("ml-100k.item", [
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    *(f"{i}\tToy Story {i}\t1995\tAnimation Comedy" for i in range(1, 21)),
])
write("yoochoose-clicks.dat", [f"{u},2014-04-07T10:5{n % 8}:09.277Z,{i},0" for n, (u, i, _) in enumerate(CLICKS)])
write("events.csv", [
    "timestamp,visitorid,event,itemid,transactionid",
    *(f"{t}000,{u},{'transaction' if i % 2 else 'view'},{i}," for u, i, t in CLICKS),
])
write("ratings_Books.csv", [f"A{u},00000{i:05},5.0,{t}" for u, i, t in CLICKS])
write("behaviors.tsv", [
    f"{u}\tU{u}\t11/1{u}/2019 9:05:58 AM\tN1 N2 N3 N{u + 3}\tN{u + 5}-1 N{u + 7}-0" for u in range(1, 7)
])
write("news.tsv", [f"N{i}\tsport\ttennis\tTitle {i}\tText\thttps://a\t[]\t[]" for i in range(1, 21)])
users, items, times = (list(column) for column in zip(*CLICKS))
Path("clicks").mkdir()
table = pa.table({"user_id": users, "item_id": items, "timestamp": pa.array(times, pa.timestamp("s"))})
pq.write_table(table, "clicks/part-0.parquet")
write("spark-csv/part-00000.csv", [
    "user_id,item_id,timestamp,query",
    *(f'{u},{i},{t},"say \\"{i}\\", please"' for u, i, t in CLICKS),
])
PYTHON
