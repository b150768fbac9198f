-- Everything that migrations can declare and verification compares: one row per object, with its definition as text.
-- $1, $2: schema and names of the runner's own tables. search_path holds pg_catalog alone, so that names come qualified.
-- `incidental` is what may well exist without a migration: extensions, partitions.
-- Left out because installations of one schema differ in them: owners, privileges, storage parameters, comments, versions of
-- extensions, and what belongs to the whole database or server (publications, event triggers, foreign servers, roles).
-- Not looked at either: operators, casts, collations, text search, options of identity columns, who owns a sequence.
WITH member AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), namespace AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relation AS (
    SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN namespace n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't'
      AND NOT (n.nspname = $1 AND c.relname = ANY ($2))
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
), owner AS (
    SELECT * FROM relation WHERE relkind IN ('r', 'p', 'f', 'v', 'm')
)
SELECT 'schema' AS kind, nspname::text AS schema, quote_ident(nspname) AS name, '' AS definition, false AS incidental
FROM namespace n
WHERE nspname <> 'public'
  AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)

UNION ALL
SELECT 'extension', '', quote_ident(extname), '', true
FROM pg_extension WHERE extname <> 'plpgsql'

UNION ALL
SELECT 'type', n.nspname, format('%I.%I', n.nspname, t.typname),
    CASE t.typtype
        WHEN 'e' THEN 'enum (' || (
            SELECT coalesce(string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder), '')
            FROM pg_enum WHERE enumtypid = t.oid) || ')'
        WHEN 'd' THEN 'domain ' || format_type(t.typbasetype, t.typtypmod)
            || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END
            -- typdefault itself was written under the search_path of its time.
            || coalesce(' DEFAULT ' || coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault), '')
            || coalesce((
                SELECT string_agg(' ' || pg_get_constraintdef(oid), '' ORDER BY conname)
                FROM pg_constraint WHERE contypid = t.oid AND contype = 'c'), '')
        WHEN 'c' THEN 'composite (' || (
            SELECT coalesce(string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum), '')
            FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped) || ')'
        ELSE 'range of ' || (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = t.oid)
    END, false
FROM pg_type t JOIN namespace n ON n.oid = t.typnamespace
WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND EXISTS (
        SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
  AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)

UNION ALL
SELECT 'table', nspname, name,
    CASE relkind WHEN 'p' THEN 'partitioned ' || pg_get_partkeydef(oid) WHEN 'f' THEN 'foreign' ELSE 'table' END
        || CASE WHEN relpersistence = 'u' THEN ' unlogged' ELSE '' END
        || CASE WHEN relrowsecurity THEN ' row level security' ELSE '' END
        || CASE WHEN relforcerowsecurity THEN ' forced' ELSE '' END
        || coalesce(' ' || pg_get_expr(relpartbound, oid), '')
        || CASE WHEN relispartition THEN '' ELSE coalesce((
            SELECT ' inherits ' || string_agg(format('%I.%I', pn.nspname, p.relname), ', ' ORDER BY h.inhseqno)
            FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE h.inhrelid = relation.oid), '') END
        || CASE relreplident
            WHEN 'f' THEN ' replica identity full' WHEN 'n' THEN ' replica identity nothing'
            WHEN 'i' THEN ' replica identity using index ' || coalesce((
                SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                WHERE x.indrelid = relation.oid AND x.indisreplident), 'that is gone')
            ELSE '' END,
    relispartition
FROM relation WHERE relkind IN ('r', 'p', 'f')

UNION ALL
SELECT 'column', r.nspname, format('%s.%I', r.name, a.attname),
    format_type(a.atttypid, a.atttypmod)
        || coalesce((
            SELECT format(' COLLATE %I.%I', cn.nspname, co.collname)
            FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace JOIN pg_type t ON t.oid = a.atttypid
            WHERE co.oid = a.attcollation AND a.attcollation <> t.typcollation), '')
        || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
        || CASE a.attidentity WHEN 'a' THEN ' GENERATED ALWAYS AS IDENTITY'
                              WHEN 'd' THEN ' GENERATED BY DEFAULT AS IDENTITY' ELSE '' END
        || coalesce(CASE WHEN a.attgenerated = '' THEN ' DEFAULT ' ELSE ' GENERATED ALWAYS AS ' END
            || pg_get_expr(d.adbin, d.adrelid), ''),
    r.relispartition
FROM relation r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'f')

UNION ALL
-- Not null is said by the column, constraint triggers by the trigger. A foreign key whose inner triggers are disabled
-- enforces nothing, although its definition is unchanged.
SELECT 'constraint', r.nspname, format('%s.%I', r.name, c.conname),
    pg_get_constraintdef(c.oid)
        || CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = c.oid AND t.tgenabled = 'D')
                THEN ' (not enforced: its triggers are disabled)' ELSE '' END,
    r.relispartition
FROM pg_constraint c JOIN relation r ON r.oid = c.conrelid
-- A foreign key to a partitioned table has one more on the same table for each partition, which says nothing new.
WHERE c.contype IN ('p', 'u', 'f', 'c', 'x')
  AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = c.conparentid AND p.conrelid = c.conrelid)

UNION ALL
-- Those behind a constraint are said by the constraint, unless they are invalid.
SELECT 'index', i.nspname, i.name,
    pg_get_indexdef(i.oid) || CASE WHEN x.indisvalid THEN '' ELSE ' (invalid)' END,
    i.relispartition OR r.relispartition
FROM relation i
JOIN pg_index x ON x.indexrelid = i.oid
JOIN owner r ON r.oid = x.indrelid
WHERE NOT x.indisvalid
   OR NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u', 'x'))

UNION ALL
SELECT 'trigger', r.nspname, format('%s.%I', r.name, t.tgname),
    pg_get_triggerdef(t.oid) || CASE t.tgenabled
        WHEN 'O' THEN '' WHEN 'D' THEN ' (disabled)' WHEN 'R' THEN ' (replica only)' ELSE ' (always)' END,
    r.relispartition
FROM pg_trigger t JOIN owner r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal

UNION ALL
SELECT 'function', n.nspname, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
    CASE p.prokind WHEN 'a' THEN 'aggregate returning ' || pg_get_function_result(p.oid) || (
                       SELECT format(' (sfunc %s, stype %s, finalfunc %s, initcond %L)', a.aggtransfn, format_type(a.aggtranstype, NULL),
                                     a.aggfinalfn, a.agginitval)
                       FROM pg_aggregate a WHERE a.aggfnoid = p.oid)
                   ELSE btrim(pg_get_functiondef(p.oid), E'\n') END, false
FROM pg_proc p JOIN namespace n ON n.oid = p.pronamespace
WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))

UNION ALL
SELECT 'view', nspname, name,
    CASE relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END
        || CASE WHEN relkind = 'v' AND reloptions IS NOT NULL THEN format('WITH (%s) ', (
            SELECT string_agg(option, ', ' ORDER BY option) FROM unnest(reloptions) AS option)) ELSE '' END
        || btrim(pg_get_viewdef(oid)), false
FROM relation WHERE relkind IN ('v', 'm')

UNION ALL
-- The sequence of an identity column belongs to the column.
SELECT 'sequence', r.nspname, r.name,
    format('%s START %s INCREMENT %s MINVALUE %s MAXVALUE %s', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
           s.seqmin, s.seqmax) || CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END,
    false
FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid
WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype = 'i')

UNION ALL
SELECT 'policy', r.nspname, format('%s.%I', r.name, p.polname),
    format('%s FOR %s TO %s', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, p.polcmd,
           (SELECT string_agg(CASE role WHEN 0 THEN 'public' ELSE pg_get_userbyid(role)::text END, ', ' ORDER BY role)
            FROM unnest(p.polroles) AS role))
        || coalesce(' USING ' || pg_get_expr(p.polqual, p.polrelid), '')
        || coalesce(' WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid), ''),
    r.relispartition
FROM pg_policy p JOIN relation r ON r.oid = p.polrelid

UNION ALL
-- The rule that makes a view is the view.
SELECT 'rule', r.nspname, format('%s.%I', r.name, w.rulename),
    pg_get_ruledef(w.oid) || CASE w.ev_enabled
        WHEN 'O' THEN '' WHEN 'D' THEN ' (disabled)' WHEN 'R' THEN ' (replica only)' ELSE ' (always)' END,
    r.relispartition
FROM pg_rewrite w JOIN owner r ON r.oid = w.ev_class
WHERE w.rulename <> '_RETURN'

UNION ALL
SELECT 'statistics', n.nspname, format('%I.%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid), r.relispartition
FROM pg_statistic_ext s JOIN namespace n ON n.oid = s.stxnamespace JOIN owner r ON r.oid = s.stxrelid
