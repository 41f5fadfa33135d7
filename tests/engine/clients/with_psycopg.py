"""psycopg 3 against a server that PGHOST and its like name."""

import psycopg

connection = psycopg.connect(autocommit=True)
run = connection.execute

run("CREATE TABLE shelf (id BIGINT PRIMARY KEY, title TEXT, e VECTOR(2))")
with connection.cursor() as cursor:
    cursor.executemany(
        "INSERT INTO shelf (id, title) VALUES (%s, %s)", [(i, f"t{i}") for i in range(50)]
    )
    assert cursor.rowcount == 50
    with cursor.copy("COPY shelf (id, title) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "text"])
        for i in range(50, 60):
            copy.write_row((i, None))
    with cursor.copy("COPY (SELECT id, title FROM shelf WHERE id > 57 ORDER BY id) TO STDOUT") as copy:
        assert list(copy.rows()) == [("58", None), ("59", None)]

for binary in (False, True):
    with connection.cursor(binary=binary) as cursor:
        row = cursor.execute("SELECT id, title, 1.5::float8, NULL::int FROM shelf WHERE id = %s", (7,))
        assert row.fetchone() == (7, "t7", 1.5, None)

with connection.cursor() as cursor:
    rows = [(i, f"t{i}") for i in range(60, 70)]
    insert = "INSERT INTO shelf (id, title) VALUES (%s, %s) RETURNING id, upper(title) AS title"
    cursor.executemany(insert, rows, returning=True)
    returned = []
    while True:
        assert [column.name for column in cursor.description] == ["id", "title"]
        returned.append(cursor.fetchone())
        if not cursor.nextset():
            break
    assert returned == [(i, f"T{i}") for i in range(60, 70)], returned
deleted = run("DELETE FROM shelf WHERE id >= 60 RETURNING id")
assert deleted.statusmessage == "DELETE 10" and len(deleted.fetchall()) == 10

run("UPDATE shelf SET e = %s WHERE id = %s", ("[1,2]", 3))
assert run("SELECT id FROM shelf ORDER BY e <-> %s LIMIT 1", ("[1,1]",)).fetchone() == (3,)
assert psycopg.types.TypeInfo.fetch(connection, "vector").oid > 0

with connection.transaction():
    with connection.cursor("named") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT id FROM shelf ORDER BY id")
        assert len(list(cursor)) == 60

with connection.pipeline():
    cursors = [run("SELECT %s::int", (i,)) for i in range(10)]
    assert [c.fetchone()[0] for c in cursors] == list(range(10))

for kind, value in [("varchar", "a"), ("uuid", "550e8400-e29b-41d4-a716-446655440000"), ("json", "1"), ("name", "b")]:
    cursor = run(f"SELECT %s::{kind}[], (SELECT %s::{kind}[])", ([value], [value, None]))
    of = psycopg.adapters.types[kind].array_oid
    assert [column.type_code for column in cursor.description] == [of, of], kind
    assert [len(array) for array in cursor.fetchone()] == [1, 2], kind

for _ in range(3):
    run("SELECT id FROM shelf WHERE id = %s", (1,), prepare=True)
assert run("SELECT count(*) > 0 FROM pg_prepared_statements").fetchone() == (True,)
run("DEALLOCATE ALL")

for statement, sqlstate in [
    ("SELECT * FROM nothing", "42P01"),
    ("SELECT nothing FROM shelf", "42703"),
    ("INSERT INTO shelf (id) VALUES (1)", "23505"),
    ("SELECT 1 / 0", "22012"),
]:
    try:
        run(statement)
    except psycopg.Error as error:
        assert error.sqlstate == sqlstate, (statement, error.sqlstate)
    else:
        raise AssertionError(statement)

with psycopg.connect(autocommit=True) as other:
    pid = other.info.backend_pid
    seen = run("SELECT usename, state FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
    assert seen == ("shelfmark", "idle"), seen
    assert run("SELECT pg_terminate_backend(%s)", (pid,)).fetchone() == (True,)
    try:
        other.execute("SELECT 1")
    except psycopg.OperationalError as error:
        assert error.sqlstate in ("57P01", None), error.sqlstate
    else:
        raise AssertionError("the session lives on")

with psycopg.connect(autocommit=True, client_encoding="WIN1252") as other:
    assert other.execute("SHOW client_encoding").fetchone() == ("WIN1252",)
    other.execute("UPDATE shelf SET title = 'naïve' WHERE id = 7")
    for binary in (False, True):
        row = other.execute("SELECT title, %s FROM shelf WHERE id = 7", ("5 €",), binary=binary)
        assert row.fetchone() == ("naïve", "5 €")
assert run("SELECT title FROM shelf WHERE id = 7").fetchone() == ("naïve",)
