-- What there is to check in the data: one row per check and object. $1: whether sound-looking objects are checked as well.
-- `found` is known from the catalogue alone; `probe` is a query that gives a row when there is something to tell: how many rows,
-- and more about it. `excuse` says why an object is not looked at. search_path holds pg_catalog alone, so that names come
-- qualified; the probes run under the caller's, which functions in constraints may need.
WITH member AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), known AS (
    SELECT c.oid, c.relname, c.relkind, c.relispartition, c.relpersistence, n.nspname, format('%I.%I', n.nspname, c.relname) AS name,
        -- Keys of a table with children in the old way of inheritance hold for the table alone.
        CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || format('%I.%I', n.nspname, c.relname) AS alone
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
), relation AS (
    SELECT * FROM known k
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = k.oid)
), restriction AS (
    -- Those of partitions and children are checked with their parent's.
    SELECT c.oid, c.contype, c.convalidated, c.conrelid, c.confrelid, c.conkey, c.confkey, c.conpfeqop, c.confmatchtype, c.conbin,
        c.connoinherit, r.name AS "table", r.alone, quote_ident(c.conname) AS name,
        format('%s.%I', r.name, c.conname) AS object
    FROM pg_constraint c JOIN relation r ON r.oid = c.conrelid
    WHERE r.relkind IN ('r', 'p') AND c.contype IN ('f', 'c') AND c.conparentid = 0 AND c.coninhcount = 0
), reference AS (
    SELECT c.*, EXISTS (
            SELECT FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint
            WHERE c.oid IN (k.oid, k.conparentid) AND t.tgenabled IN ('D', 'R')) AS disabled,
        (SELECT format('FROM %s f WHERE (%s) AND NOT EXISTS (SELECT FROM %s p WHERE %s)', c.alone,
            string_agg(format('f.%I IS NOT NULL', fa.attname),
                       CASE c.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END ORDER BY u.k),
            p.alone,
            string_agg(format('p.%I OPERATOR(%I.%s) f.%I', pa.attname, n.nspname, o.oprname, fa.attname), ' AND ' ORDER BY u.k))
         FROM unnest(c.conkey, c.confkey, c.conpfeqop) WITH ORDINALITY AS u (child, parent, operator, k)
         JOIN pg_attribute fa ON fa.attrelid = c.conrelid AND fa.attnum = u.child
         JOIN pg_attribute pa ON pa.attrelid = c.confrelid AND pa.attnum = u.parent
         JOIN pg_operator o ON o.oid = u.operator
         JOIN pg_namespace n ON n.oid = o.oprnamespace) AS orphans
    FROM restriction c JOIN known p ON p.oid = c.confrelid
    WHERE c.contype = 'f'
), violation AS (
    SELECT c.*, format('FROM %s WHERE NOT (%s)', CASE WHEN c.connoinherit THEN c.alone ELSE c."table" END,
                       pg_get_expr(c.conbin, c.conrelid)) AS rows
    FROM restriction c
    WHERE c.contype = 'c'
), draw AS (
    -- Columns and the sequences that they draw from: identity, or a default that is nextval and nothing else.
    SELECT d.refobjid AS tableid, d.refobjsubid AS attnum, d.objid AS seqid
    FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i' AND d.refobjsubid > 0
    UNION
    SELECT a.adrelid, a.adnum, d.refobjid
    FROM pg_attrdef a
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
    WHERE pg_get_expr(a.adbin, a.adrelid) ~ '^nextval\(''.*''::regclass\)(::[a-z ]+)?$'
), sequence AS (
    SELECT format('%I.%I', n.nspname, c.relname) AS name, s.seqincrement AS step, r.name AS "table", r.alone,
        quote_ident(a.attname) AS "column", CASE WHEN s.seqincrement > 0 THEN 'max' ELSE 'min' END AS edge
    FROM draw d
    JOIN pg_sequence s ON s.seqrelid = d.seqid
    JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN relation r ON r.oid = d.tableid
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = d.attnum
    JOIN pg_type t ON t.oid = a.atttypid
    -- One that begins anew is never behind.
    WHERE NOT s.seqcycle AND t.typcategory = 'N' AND NOT r.relispartition AND r.relkind IN ('r', 'p')
), index AS (
    SELECT x.*, i.name, i.relname, i.relkind, i.relispartition, r.alone, x.indisvalid AND x.indisready AND x.indislive AS valid,
        (SELECT string_agg(pg_get_indexdef(i.oid, k, false), ', ' ORDER BY k) FROM generate_series(1, x.indnkeyatts) AS k) AS keys,
        CASE WHEN EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.oid) THEN 'it is being built' END AS excuse
    FROM pg_index x
    JOIN relation i ON i.oid = x.indexrelid
    JOIN relation r ON r.oid = x.indrelid
), key AS (
    -- NULLS NOT DISTINCT came with PostgreSQL 15.
    SELECT x.*, format('FROM %s WHERE %s%s GROUP BY %s HAVING count(*) > 1', x.alone,
        coalesce(pg_get_expr(x.indpred, x.indrelid), 'true'),
        CASE WHEN (to_jsonb(p) ->> 'indnullsnotdistinct')::boolean THEN ''
             ELSE (SELECT string_agg(format(' AND %s IS NOT NULL', pg_get_indexdef(x.indexrelid, k, false)), '' ORDER BY k)
                   FROM generate_series(1, x.indnkeyatts) AS k) END,
        -- GROUP BY takes a bare constant, as in UNIQUE ((true)), for the number of a column or refuses it.
        (SELECT string_agg(CASE WHEN k.def ~ '^\((true|false|[0-9]+)\)$' THEN format('coalesce(%s)', k.def) ELSE k.def END, ', ' ORDER BY n)
         FROM (SELECT n, pg_get_indexdef(x.indexrelid, n, false) AS def FROM generate_series(1, x.indnkeyatts) AS n) k)) AS groups
    FROM index x JOIN pg_index p ON p.indexrelid = x.indexrelid
    WHERE x.indisunique AND NOT x.relispartition
)
SELECT 'unvalidated_constraint' AS "check", object, NOT convalidated AS found, NULL AS excuse,
    'NOT VALID: rows from before it are not checked' AS problem, NULL AS probe,
    format('ALTER TABLE %s VALIDATE CONSTRAINT %s', "table", name) AS help
FROM restriction

UNION ALL
SELECT 'unvalidated_constraint', format('%I.%I.%I', n.nspname, t.typname, c.conname), NOT c.convalidated, NULL,
    'NOT VALID: values from before it are not checked', NULL,
    format('ALTER DOMAIN %I.%I VALIDATE CONSTRAINT %I', n.nspname, t.typname, c.conname)
FROM pg_constraint c JOIN pg_type t ON t.oid = c.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE c.contype = 'c' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)

UNION ALL
SELECT 'disabled_foreign_key', object, disabled, NULL, 'its triggers are disabled: it enforces nothing', NULL,
    format('ALTER TABLE %s ENABLE TRIGGER ALL; ALTER TABLE %s ENABLE TRIGGER ALL', "table",
           (SELECT p.name FROM known p WHERE p.oid = confrelid))
FROM reference

UNION ALL
SELECT 'orphan_rows', object, NULL, NULL, 'rows refer to a row that does not exist',
    format('SELECT count(*), NULL::text %s HAVING count(*) > 0', orphans), 'SELECT f.* ' || orphans
FROM reference WHERE $1 OR disabled OR NOT convalidated

UNION ALL
SELECT 'check_violations', object, NULL, NULL, 'rows violate it',
    format('SELECT count(*), NULL::text %s HAVING count(*) > 0', rows), 'SELECT * ' || rows
FROM violation WHERE $1 OR NOT convalidated

UNION ALL
SELECT 'sequence_behind', name, NULL, NULL, format('behind %s.%s, so that inserts will fail or repeat values', "table", "column"),
    format('SELECT NULL::bigint, ''the next value is '' || next || '', the column holds '' || edge
            FROM (SELECT last_value::numeric + CASE WHEN is_called THEN %s ELSE 0 END AS next FROM %s) s,
                 (SELECT %s(%s)::numeric AS edge FROM %s) t
            WHERE edge %s next', step, name, edge, "column", alone, CASE edge WHEN 'max' THEN '>=' ELSE '<=' END),
    format('SELECT setval(%L, (SELECT %s(%s) FROM %s))', name, edge, "column", alone)
FROM sequence

UNION ALL
SELECT 'invalid_index', name, NOT valid, CASE WHEN NOT valid THEN excuse END,
    'invalid: queries do not use it, and if it is unique, it proves nothing', NULL,
    CASE WHEN relkind = 'I' THEN format('create the index on each partition that has none, then ALTER INDEX %s ATTACH PARTITION it', name)
         WHEN relname ~ '_cc(new|old)[0-9]*$' THEN format('DROP INDEX CONCURRENTLY %s', name)
         ELSE format('REINDEX INDEX CONCURRENTLY %s', name) END
FROM index

UNION ALL
SELECT 'duplicate_keys', name, NULL, excuse, 'rows repeat the key of another row',
    format('SELECT (sum(n) - count(*))::bigint, NULL::text FROM (SELECT count(*) AS n %s) d HAVING count(*) > 0', groups),
    format('SELECT %s, count(*) %s', keys, groups)
FROM key WHERE $1 OR NOT valid
