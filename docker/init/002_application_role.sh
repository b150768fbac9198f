#!/bin/sh
# Creates the role that services connect as, with the least privileges that they need.
#
#   DB_APP_USER      the role's name (default: app)
#   DB_APP_PASSWORD  its password (required)
#
# The role reads and writes the rows of tables in schema public, those that exist and those that the database's owner will
# create; it creates, changes and drops nothing. Migrations therefore run as the owner. May run again, for example with
# another password. Outside of a container it takes libpq's variables (PGHOST, PGDATABASE, ...) and wants psql 15 or later.

# Not -u: the official image sources this file when it is not executable, and its entry point does not expect it.
set -e

: "${DB_APP_PASSWORD:?is not set: it becomes the password of the application role}"
DB_APP_USER="${DB_APP_USER:-app}"
export DB_APP_USER DB_APP_PASSWORD

# psql reads the two from the environment itself, so neither is seen in the list of processes or becomes part of the script.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --single-transaction --output /dev/null \
    --username "${POSTGRES_USER:-${PGUSER:-postgres}}" --dbname "${POSTGRES_DB:-${PGDATABASE:-postgres}}" <<'SQL'
\getenv app_user DB_APP_USER
\getenv app_password DB_APP_PASSWORD

-- Keeps the password out of the server's log and of pg_stat_statements. Other than a superuser nobody may set these.
SELECT set_config(name, value, true)
FROM (VALUES ('log_statement', 'none'), ('log_min_duration_statement', '-1'), ('log_min_error_statement', 'panic'),
             ('pg_stat_statements.track_utility', 'off')) AS quiet (name, value)
WHERE current_setting('is_superuser') = 'on';

SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = current_database() \gset

-- A role that exists may be somebody's: it is taken over only if it has no more power than the one we would create.
SELECT format('DO %L', format('BEGIN RAISE EXCEPTION ''role "%%": %%'', %L, %L USING HINT = %L; END',
                              :'app_user', reason, 'Choose another DB_APP_USER.'))
FROM (SELECT concat_ws(', ',
                 CASE WHEN :'app_user' IN (:'owner', current_user) THEN 'owns the database or runs this script' END,
                 CASE WHEN rolsuper THEN 'is a superuser' END,
                 CASE WHEN rolcreatedb THEN 'may create databases' END,
                 CASE WHEN rolcreaterole THEN 'may create roles' END,
                 CASE WHEN rolreplication THEN 'may replicate' END,
                 CASE WHEN rolbypassrls THEN 'bypasses row security' END) AS reason
      FROM pg_roles WHERE rolname = :'app_user') AS role
WHERE reason <> '' \gexec

SELECT format('CREATE ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', :'app_user')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'app_user') \gexec
ALTER ROLE :"app_user" LOGIN PASSWORD :'app_password';

-- The database: nobody gets in unless it is said here.
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO :"app_user";
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM :"app_user";
GRANT USAGE ON SCHEMA public TO :"app_user";

-- What the owner will create. EXECUTE is PUBLIC's by default and can only be taken away for all schemas at once.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app_user";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO :"app_user";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO :"app_user";

-- What is there already, but for what belongs to extensions: pg_stat_statements_reset() is not for everybody.
SELECT format('GRANT %s %I.%I TO %I',
              CASE relkind WHEN 'S' THEN 'USAGE, SELECT ON SEQUENCE' ELSE 'SELECT, INSERT, UPDATE, DELETE ON TABLE' END,
              'public', relname, :'app_user')
FROM pg_class c
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \gexec
SELECT format('GRANT EXECUTE ON ROUTINE %s TO %I', p.oid::regprocedure, :'app_user')
FROM pg_proc p
WHERE pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') \gexec
SQL
echo "application role \"$DB_APP_USER\" is ready"
