-- What psql's own commands ask, and what it computes by itself.
CREATE TABLE shelf (id BIGINT PRIMARY KEY, title VARCHAR(20) NOT NULL, price NUMERIC(10, 2) DEFAULT 1.5, e VECTOR(2));
CREATE INDEX shelf_title ON shelf (title);
CREATE VIEW titles AS SELECT id, title FROM shelf;
\copy shelf (id, title, e) FROM PROGRAM 'printf "1\tone\t[1,2]\n2\ttwo\t[3,4]\n"'
\d
\d shelf
\d titles
\di
\dn
\du
\dx
\df vector_dims
\do <=>
\dp shelf
\dT vector
\l
SELECT id, title, e FROM shelf \gdesc
SELECT id, title FROM shelf ORDER BY e <-> '[3,3]' LIMIT 1;
SELECT count(*) AS shelves, count(*) > 0 AS is_full FROM shelf \gset
\if :is_full
\echo there are :shelves
\else
\echo there are none
\endif
SELECT title, id, price FROM shelf ORDER BY id \crosstabview
SELECT format('SELECT %s AS made', 6 * 7) \gexec
\copy (SELECT id, title FROM shelf ORDER BY id) TO STDOUT CSV HEADER
CREATE TABLE volume (id bigint, key int) PARTITION BY RANGE (key);
CREATE TABLE volume_1 PARTITION OF volume FOR VALUES FROM (1) TO (10);
CREATE TABLE volume_d PARTITION OF volume DEFAULT;
\copy volume FROM PROGRAM 'printf "1\t1\n2\t50\n"'
\copy volume_1 FROM PROGRAM 'printf "3\t3\n"'
\d volume
\d+ volume
\d volume_1
\dt volume*
\copy (SELECT id FROM volume_1 ORDER BY id) TO STDOUT
\copy volume_d TO STDOUT
\set ON_ERROR_STOP 0
SELECT nothing FROM shelf;
\echo :LAST_ERROR_SQLSTATE
TABLE titles;
