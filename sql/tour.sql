-- A tour of Shelfmark with ten thousand real books. From the root of the repository:
--   cargo run --release -- sql -f sql/tour.sql

\echo 1. A collection of books, to be shelved by the year they first appeared.
\echo '   Segments are kept small (500 rows rather than a million), so that 10,000 books make many.'
\echo
CREATE TABLE book (
    id BIGINT PRIMARY KEY,
    title TEXT NOT NULL,
    authors TEXT,
    year INT CLUSTERING KEY,
    language TEXT,
    rating DOUBLE PRECISION,
    ratings_count BIGINT,
    embedding VECTOR(384)
) WITH (segment_rows_max = 500, auto_compaction = off);

COPY book FROM 'examples/data/books.parquet';

\echo
\echo 2. What is in it?
\echo
SELECT count(*) AS books, count(DISTINCT language) AS languages, min(year) AS oldest, max(year) AS newest,
       vector_dims(max(embedding)) AS dimensions
FROM book;

\echo 3. Books like 'Dune' that appeared between 1950 and 1990: nearest first, by squared distance.
\echo
CREATE VIEW like_dune AS
SELECT b.title, b.authors, b.year, l2_squared_distance(b.embedding, d.embedding)::NUMERIC(6, 3) AS distance
FROM book b, book d
WHERE d.title = 'Dune (Dune Chronicles #1)' AND b.id <> d.id AND b.year BETWEEN 1950 AND 1990
ORDER BY b.embedding <-> d.embedding
LIMIT 5;

SELECT * FROM like_dune;

\echo 4. The file was not sorted by year, so books of those years lie in every segment: none can be skipped.
\echo
EXPLAIN ANALYZE SELECT title FROM book WHERE year BETWEEN 1950 AND 1990;

\echo 5. Shelve the books by year. The work is done in the background; the statement answers at once.
\echo
COMPACT book WITH CLUSTERING \gset
WAIT FOR COMPACTION :compaction_id TIMEOUT '10 min' \gset
\x on
SHOW COMPACTION STATE :compaction_id;
\x off

\echo 6. The same question: the same books, from fewer segments.
\echo
SELECT * FROM like_dune;
EXPLAIN ANALYZE SELECT title FROM book WHERE year BETWEEN 1950 AND 1990;

\echo 7. How well the shelves are ordered: a depth of 1 says that no two segments share a year.
\echo
\x on
SELECT * FROM clustering_information('book');
\x off

\echo 8. The segments, and what PartitionStats say of their years: this is what decides which ones are read.
\echo
SELECT s.segment_id, s.state, s.rows, s.bytes / 1024 AS kib, p.min_value AS first_year, p.max_value AS last_year,
       p.null_count AS without_year
FROM shelfmark.segments s
JOIN shelfmark.partition_stats p ON p.segment_id = s.segment_id AND p.column_name = 'year'
ORDER BY s.segment_id;

\echo 9. One segment's statistics, column by column.
\echo
SELECT column_name, min_value, max_value, null_count, round(radius, 3) AS radius
FROM shelfmark.partition_stats
WHERE segment_id = (SELECT min(segment_id) FROM shelfmark.segments WHERE collection = 'book');
