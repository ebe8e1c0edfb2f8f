"""Public logs as they are published: some lines in the layout of each, and the flags to read it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.commands.shared import flags, log_flags, table_flags
from pipelines.commands.table import COMMANDS
from recall.errors import InputError


def open_with(tmp_path, *args):
    """The log and the items that `recall ingest` would read with these flags."""
    values = flags.define(COMMANDS["ingest"].COMMAND)
    values(["recall", f"--output={tmp_path}/out", *args])
    items_file = table_flags.read_items_file(values, values["items"].value)
    source = log_flags.open_log(values)
    return source, None if items_file is None else items_file.read()


def events_of(source, max_bad_rows=0):
    rows = [row for batch in source.read_batches(max_bad_rows) for row in batch.to_pylist()]
    return [(row["user_id"], row["item_id"], row["timestamp"]) for row in rows]


def write(tmp_path, name, lines, encoding="utf-8", end="\n"):
    path = tmp_path / name
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


GENRES = (
    "unknown,Action,Adventure,Animation,Children's,Comedy,Crime,Documentary,Drama,Fantasy,"
    "Film-Noir,Horror,Musical,Mystery,Romance,Sci-Fi,Thriller,War,Western"
)


def test_movielens_100k(tmp_path):
    rows = [
        (196, 242, 3, 881250949),
        (186, 302, 3, 891717742),
        (22, 377, 1, 878887116),
        (244, 51, 2, 880606923),
        (166, 346, 1, 886397596),
        (298, 474, 4, 884182806),
        (115, 265, 2, 881171488),
        (253, 465, 5, 891628467),
        (305, 451, 3, 886324817),
        (6, 86, 3, 883603013),
    ]
    write(tmp_path, "u.data", ["\t".join(map(str, row)) for row in rows])
    movies = [
        "1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)|"
        "0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0",
        "2|GoldenEye (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?GoldenEye%20(1995)|"
        "0|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0|1|0|0",
        "1104|Ma vie en rosé (1997)|01-Jan-1997||http://us.imdb.com/|"
        "0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0",
    ]
    write(tmp_path, "u.item", movies, "latin-1")
    source, items = open_with(
        tmp_path,
        f"--events={tmp_path}/u.data",
        "--columns=user_id,item_id,rating,timestamp",
        f"--items={tmp_path}/u.item",
        f"--items_columns=item_id,title,released,video,url,{GENRES}",
        f"--items_category_column={GENRES}",
        "--items_encoding=latin-1",
    )
    assert events_of(source) == [(str(u), str(i), float(t)) for u, i, _, t in rows]
    assert items.to_pylist() == [
        {
            "item_id": "1",
            "categories": ["Animation", "Children's", "Comedy"],
            "title": "Toy Story (1995)",
        },
        {
            "item_id": "2",
            "categories": ["Action", "Adventure", "Thriller"],
            "title": "GoldenEye (1995)",
        },
        {"item_id": "1104", "categories": [], "title": "Ma vie en rosé (1997)"},
    ]


def test_movielens_1m(tmp_path):
    rows = [(1, 1193 + n, 5, 978300760 + n) for n in range(10)]
    write(tmp_path, "ratings.dat", ["::".join(map(str, row)) for row in rows])
    movies = [
        "1::Toy Story (1995)::Animation|Children's|Comedy",
        "73::Misérables, Les (1995)::Drama|Musical",
        "260::Star Wars: Episode IV - A New Hope (1977)::Action|Adventure|Fantasy|Sci-Fi",
        '3890::"Quoted" Title, The: A, B|C, D (2000)::Drama',
    ]
    write(tmp_path, "movies.dat", movies, "latin-1")
    source, items = open_with(
        tmp_path,
        f"--events={tmp_path}/ratings.dat",
        "--columns=user_id,item_id,rating,timestamp",
        "--where=rating=4|5",
        f"--items={tmp_path}/movies.dat",
        "--items_columns=item_id,title,category",
        "--items_encoding=latin-1",
    )
    assert events_of(source) == [("1", str(i), float(t)) for _, i, _, t in rows]
    assert items["item_id"].to_pylist() == ["1", "73", "260", "3890"]
    assert items["categories"].to_pylist()[2] == ["Action", "Adventure", "Fantasy", "Sci-Fi"]
    assert items["title"].to_pylist()[1:] == [
        "Misérables, Les (1995)",
        "Star Wars: Episode IV - A New Hope (1977)",
        '"Quoted" Title, The: A, B|C, D (2000)',
    ]


def test_movielens_25m(tmp_path):
    ratings = [f"1,{296 + n},{n % 10 / 2 + 0.5},{1147880044 + n}" for n in range(10)]
    write(tmp_path, "ratings.csv", ["userId,movieId,rating,timestamp", *ratings], end="\r\n")
    movies = [
        "movieId,title,genres",
        "1,Toy Story (1995),Adventure|Animation|Children|Comedy|Fantasy",
        '11,"American President, The (1995)",Comedy|Drama|Romance',
        '135887,"Great ""Performances"" Cats (1998)",(no genres listed)',
    ]
    write(tmp_path, "movies.csv", movies)
    source, items = open_with(
        tmp_path,
        f"--events={tmp_path}/ratings.csv",
        "--user_column=userId",
        "--item_column=movieId",
        f"--items={tmp_path}/movies.csv",
        "--items_id_column=movieId",
        "--items_category_column=genres",
    )
    assert events_of(source) == [("1", str(296 + n), 1147880044.0 + n) for n in range(10)]
    assert items["categories"].to_pylist()[1] == ["Comedy", "Drama", "Romance"]
    assert items["title"].to_pylist()[2] == 'Great "Performances" Cats (1998)'


def test_recbole_atomic_files(tmp_path):
    log = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    log += [f"{196 + n}\t{242 + n}\t3\t{881250949 + n}" for n in range(9)]
    write(tmp_path, "ml-100k.inter", log)
    items = [
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
        "1\tToy Story\t1995\tAnimation Children's Comedy",
        "2\tGoldenEye\t1995\tAction Adventure Thriller",
    ]
    write(tmp_path, "ml-100k.item", items)
    source, items = open_with(
        tmp_path,
        f"--events={tmp_path}/ml-100k.inter",
        f"--items={tmp_path}/ml-100k.item",
        "--items_category_column=class",
        "--items_title_column=movie_title",
    )
    assert events_of(source) == [(str(196 + n), str(242 + n), 881250949.0 + n) for n in range(9)]
    assert items.to_pylist() == [
        {
            "item_id": "1",
            "categories": ["Animation", "Children's", "Comedy"],
            "title": "Toy Story",
        },
        {"item_id": "2", "categories": ["Action", "Adventure", "Thriller"], "title": "GoldenEye"},
    ]


def test_yoochoose(tmp_path):
    lines = [
        f"1,2014-04-07T10:5{n}:09.277Z,{214536502 + n},{'S' if n % 2 else 0}" for n in range(10)
    ]
    write(tmp_path, "yoochoose-clicks.dat", lines)
    source, _ = open_with(
        tmp_path,
        f"--events={tmp_path}/yoochoose-clicks.dat",
        "--columns=user_id,timestamp,item_id,category",
    )
    # 2014-04-07 10:50:09.277 UTC is 16,167 days and 39,009.277 s after 1970.
    first = 16167 * 86400 + 39009.277
    found = events_of(source)
    assert [(user, item) for user, item, _ in found] == [
        ("1", str(214536502 + n)) for n in range(10)
    ]
    assert [time for _, _, time in found] == pytest.approx([first + 60 * n for n in range(10)])


def test_retailrocket(tmp_path):
    lines = ["timestamp,visitorid,event,itemid,transactionid"]
    lines += [f"{1433221332117 + n},257597,view,{355908 + n}," for n in range(8)]
    lines += ["1433222276276,599528,transaction,356475,4000", "1433223236124,599528,addtocart,1,"]
    write(tmp_path, "events.csv", lines)
    args = (f"--events={tmp_path}/events.csv", "--user_column=visitorid", "--item_column=itemid")
    assert len(events_of(open_with(tmp_path, *args)[0])) == 10
    source, _ = open_with(tmp_path, *args, "--where=event=transaction|addtocart")
    assert events_of(source) == [
        ("599528", "356475", 1433222276.276),
        ("599528", "1", 1433223236.124),
    ]
    assert source.rows_left_out == 8


def test_amazon_ratings(tmp_path):
    lines = [f"A3AF8FFZAZYNE{n},0000000078,5.0,{1092182400 + n}" for n in range(10)]
    write(tmp_path, "ratings_Books.csv", lines)
    source, _ = open_with(
        tmp_path,
        f"--events={tmp_path}/ratings_Books.csv",
        "--columns=user_id,item_id,rating,timestamp",
    )
    assert events_of(source) == [
        (f"A3AF8FFZAZYNE{n}", "0000000078", 1092182400.0 + n) for n in range(10)
    ]


MIND = [
    "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782\tN55689-1 N35729-0",
    "2\tU91836\t11/12/2019 6:11:30 PM\tN31739\tN20678-0 N39317-0 N58114-0",
    "3\tU13740\t11/13/2019 12:00:00 AM\tN55189 N42782\tN1-1 N2-0 N3-1",
    "4\tU73700\t11/14/2019 7:01:48 AM\t\tN18870-1",
]


def test_mind(tmp_path):
    path = write(tmp_path, "behaviors.tsv", MIND)
    news = [
        'N55528\tlifestyle\tlifestyleroyals\tThe "Brands" Queen\tShop\thttps://a.html\t[]\t[]',
        'N19639\thealth\tweightloss\t"50 Worst\tThese\thttps://b.html\t[{"Label": "A"}]\t[]',
    ]
    write(tmp_path, "news.tsv", news)
    source, items = open_with(
        tmp_path,
        f"--events=mind:{path}",
        f"--items={tmp_path}/news.tsv",
        "--items_columns=item_id,category,subcategory,title,abstract,url,entities,more",
        "--items_category_column=category,subcategory",
    )
    day = 18211 * 86400  # 2019-11-11 in days after 1970
    assert events_of(source) == [
        ("U13740", "N55189", 0.0),
        ("U13740", "N42782", 0.0),
        ("U13740", "N55689", day + 9 * 3600 + 5 * 60 + 58.0),
        ("U91836", "N31739", 0.0),
        ("U13740", "N1", day + 2 * 86400.0),
        ("U13740", "N3", day + 2 * 86400.0),
        ("U73700", "N18870", day + 3 * 86400 + 7 * 3600 + 60 + 48.0),
    ]
    assert items["categories"].to_pylist()[0] == ["lifestyle", "lifestyleroyals"]
    assert items["title"].to_pylist() == ['The "Brands" Queen', '"50 Worst']


def test_mind_rows_that_are_none(tmp_path):
    lines = [*MIND, "5\tU1\tyesterday\t\tN1-1", "6\tU1\t11/14/2019 7:01:48 AM\t\tN1 N2-0"]
    lines.append("7\tU1\t11/31/2019 7:01:48 AM\t\tN1-1")  # November has 30 days
    source, _ = open_with(tmp_path, f"--events=mind:{write(tmp_path, 'b.tsv', lines)}")
    with pytest.raises(InputError, match=r"Data row 5 of .*'time' holds 'yesterday'"):
        events_of(source)
    assert len(events_of(source, 3)) == 7
    assert source.bad_rows.total == 3
    other = write(tmp_path, "c.tsv", ["user_id\titem_id\ttimestamp", "a\tb\t1"])
    with pytest.raises(InputError, match=r"has 3 fields"):
        open_with(tmp_path, f"--events=mind:{other}")


TABLE = pa.table(
    {
        "user_id": pa.array([7, 7, 8] * 3, pa.int64()),
        "item_id": [f"i{n}" for n in range(9)],
        "timestamp": pa.array([1700000000000 + 1000 * n for n in range(9)], pa.timestamp("ms")),
    }
)
EVENTS = [("8" if n % 3 == 2 else "7", f"i{n}", 1700000000.0 + n) for n in range(9)]


def test_spark_parquet(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    for part in range(3):
        name = f"part-0000{part}-5c1a0a44-1d3c-4b7e-9a52-0e3f4d0b1a11-c000.snappy.parquet"
        pq.write_table(
            TABLE.slice(3 * part, 3), folder / name, use_deprecated_int96_timestamps=True
        )
    (folder / "_SUCCESS").touch()
    (folder / f".{name}.crc").write_bytes(b"crc\0")
    pq.write_metadata(TABLE.schema, folder / "_metadata")
    assert events_of(open_with(tmp_path, f"--events={folder}")[0]) == EVENTS


def test_spark_csv(tmp_path):
    folder = tmp_path / "log" / "event=click"
    folder.mkdir(parents=True)
    lines = ["user_id,item_id,timestamp,query"]
    lines += [f'u{n},i{n},2023-11-14T22:13:2{n}.000Z,"say \\"{n}\\", please"' for n in range(9)]
    write(folder, "part-00000-5c1a0a44-c000.csv", lines)
    (tmp_path / "log" / "_SUCCESS").touch()
    args = (f"--events={tmp_path}/log", "--where=event=click")
    with pytest.raises(InputError, match=r"pass --escape=\\"):
        events_of(open_with(tmp_path, *args)[0])
    source, _ = open_with(tmp_path, *args, "--escape=\\")
    assert events_of(source) == [(f"u{n}", f"i{n}", 1700000000.0 + n) for n in range(9)]


def test_duckdb_partitions(tmp_path):
    for part, event in enumerate(("click", "purchase", "view")):
        folder = tmp_path / "log" / f"event={event}" / "day=2023-11-14"
        folder.mkdir(parents=True)
        pq.write_table(TABLE.slice(3 * part, 3), folder / "data_0.parquet", compression="snappy")
    source, _ = open_with(tmp_path, f"--events={tmp_path}/log", "--where=event!=view")
    assert events_of(source) == EVENTS[:6]


@pytest.mark.parametrize("kind", ["large_string", "string_view", "categorical"])
def test_polars_parquet(tmp_path, kind):
    texts = TABLE["item_id"]
    items = {
        "large_string": texts.cast(pa.large_string()),
        "string_view": texts.cast(pa.string_view()),
        "categorical": texts.cast(pa.large_string()).dictionary_encode(),
    }[kind]
    table = TABLE.set_column(1, "item_id", items)
    pq.write_table(table, tmp_path / "log.parquet", compression="zstd")
    source, _ = open_with(tmp_path, f"--events={tmp_path}/log.parquet", "--where=item_id!=i0")
    assert events_of(source) == EVENTS[1:]
