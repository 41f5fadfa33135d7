-- Every type a column can have, and what can be done to rows.

\echo Types
CREATE TABLE sample (
    id INTEGER PRIMARY KEY,
    flag BOOLEAN DEFAULT true,
    small SMALLINT,
    big BIGINT,
    ratio REAL,
    measure DOUBLE PRECISION,
    price NUMERIC(10, 2),
    name TEXT NOT NULL,
    code VARCHAR(8),
    born DATE,
    at TIME,
    seen TIMESTAMP,
    logged TIMESTAMPTZ,
    raw BYTEA,
    key UUID,
    doc JSON,
    tags TEXT[],
    place VECTOR(3),
    half HALFVEC(3)
) CLUSTER BY (born);

INSERT INTO sample VALUES
    (1, DEFAULT, 7, 7000000000, 0.5, 0.25, 12.50, 'first', 'A-1', '1965-08-01', '12:30', '2024-01-02 03:04:05',
     '2024-01-02 03:04:05+01', '\xcafe', '123e4567-e89b-12d3-a456-426614174000', '{"a": 1}', ARRAY['x', 'y'],
     '[1,2,3]', '[1,2,3]');
INSERT INTO sample (id, name) VALUES (2, 'second'), (3, 'third');

\x on
SELECT * FROM sample WHERE id = 1;
\x off

\echo Rows change in place; every statement is one transaction.
UPDATE sample SET price = 9.99, place = '[3,2,1]' WHERE id = 2;
DELETE FROM sample WHERE id = 3;
SELECT id, name, price, place <-> '[1,2,3]' AS distance FROM sample ORDER BY id;

\echo Columns come and go without rewriting what is stored.
ALTER TABLE sample ADD COLUMN note TEXT DEFAULT 'none';
ALTER TABLE sample RENAME COLUMN name TO title;
ALTER TABLE sample DROP COLUMN raw;
SELECT id, title, note FROM sample ORDER BY id;

\echo Views, schemas, copies
CREATE SCHEMA archive;
CREATE TABLE archive.sample AS SELECT id, title, price FROM sample;
CREATE VIEW priced AS SELECT title, price FROM archive.sample WHERE price > 10;
SELECT * FROM priced;
DROP VIEW priced;
DROP SCHEMA archive CASCADE;
TRUNCATE sample;
SELECT count(*) FROM sample;
