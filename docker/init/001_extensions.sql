-- Installs the extensions that services rely on, and fails with the names of those that cannot be had.
-- May run again. To run it elsewhere than in the compose file: psql -v ON_ERROR_STOP=1 -f 001_extensions.sql

-- All missing packages in one message, where CREATE EXTENSION would stop at the first.
DO $$
DECLARE
    missing text;
BEGIN
    SELECT string_agg(wanted, ', ' ORDER BY wanted) INTO missing
    FROM unnest(ARRAY['uuid-ossp', 'pgcrypto', 'pg_trgm', 'pg_stat_statements']) AS wanted
    WHERE NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = wanted);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'extensions are not available on this server: %', missing
            USING HINT = 'Install the contrib package of this PostgreSQL version.';
    END IF;
END
$$;

CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;

DO $$
DECLARE
    missing text;
    statistics_schema text;
BEGIN
    SELECT string_agg(wanted, ', ' ORDER BY wanted) INTO missing
    FROM unnest(ARRAY['uuid-ossp', 'pgcrypto', 'pg_trgm', 'pg_stat_statements']) AS wanted
    WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = wanted);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'extensions are not installed in database "%": %', current_database(), missing;
    END IF;

    -- Being installed is not enough for this one: its view fails unless the library was loaded when the server started.
    SELECT n.nspname INTO statistics_schema
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'pg_stat_statements';
    BEGIN
        EXECUTE format('SELECT FROM %I.pg_stat_statements LIMIT 1', statistics_schema);
    EXCEPTION WHEN object_not_in_prerequisite_state THEN
        RAISE EXCEPTION 'pg_stat_statements is installed, but the server has not loaded it'
            USING HINT = 'Start the server with shared_preload_libraries=pg_stat_statements.';
    END;
END
$$;
