#!/usr/bin/env bash
# Entry point of the stand-in image that `cargo xtask image` builds.
#
# It honours the part of the official image's contract that our compose file, our tests and testcontainers rely on:
# POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_HOST_AUTH_METHOD, POSTGRES_INITDB_ARGS and
# /docker-entrypoint-initdb.d (*.sql, *.sql.gz, *.sh). It does not know the *_FILE variables.
#
# The first start goes through a temporary server that listens on the socket only. Its log goes to stdout and the final
# server's to stderr, so "database system is ready to accept connections" is seen once on each: testcontainers waits for both.

# Without -u, as in the official image: init scripts that are not executable are sourced and inherit these options.
set -Eeo pipefail

main() {
    if [[ $# -eq 0 || $1 == -* ]]; then
        set -- postgres "$@"
    fi
    if [[ $1 == postgres ]] && ! asks_for_text "$@"; then
        prepare_folders
        if [[ $(id -u) == 0 ]]; then
            exec setpriv --reuid=postgres --regid=postgres --init-groups -- "${BASH_SOURCE[0]}" "$@"
        fi
        if [[ -s $PGDATA/PG_VERSION ]]; then
            echo "PostgreSQL Database directory appears to contain a database; Skipping initialization"
        else
            initialise "$@"
        fi
    fi
    exec "$@"
}

# Whether the server would only print something and exit, for which no data folder is needed.
asks_for_text() {
    local argument
    for argument in "$@"; do
        case $argument in
        '-?' | --help | --describe-config | -V | --version) return 0 ;;
        esac
    done
    return 1
}

prepare_folders() {
    mkdir -p "$PGDATA" /var/run/postgresql
    # A bind mount may refuse these; the server then says so more clearly than we could.
    chmod 0700 "$PGDATA" || true
    chmod 3775 /var/run/postgresql || true
    if [[ $(id -u) == 0 ]]; then
        find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres '{}' +
    fi
}

initialise() {
    : "${POSTGRES_USER:=postgres}"
    : "${POSTGRES_DB:=$POSTGRES_USER}"
    export POSTGRES_USER POSTGRES_DB
    if [[ -z $POSTGRES_PASSWORD && $POSTGRES_HOST_AUTH_METHOD != trust ]]; then
        cat >&2 <<'TEXT'
Error: Database is uninitialized and superuser password is not specified.
       Set POSTGRES_PASSWORD to a non-empty value, for example "-e POSTGRES_PASSWORD=password" on "docker run",
       or POSTGRES_HOST_AUTH_METHOD=trust to let everyone in without a password (not recommended).
TEXT
        exit 1
    fi

    local initdb_args=()
    # The variable holds words quoted for a shell, as with the official image.
    eval "initdb_args=($POSTGRES_INITDB_ARGS)"
    # The line feed keeps the file from being empty, which initdb refuses even when the password is not used.
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${initdb_args[@]}"

    shift # drops the word `postgres`, so that "$@" is the server's arguments
    local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "$@")}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"

    # For *.sh files and for POSTGRES_INITDB_ARGS=--auth-local=scram-sha-256.
    export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
    # Without -l, pg_ctl joins the server's log into its own stdout.
    local port=${PGPORT:-5432}
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "$(printf '%q ' "$@" -c listen_addresses= -p "$port")" -w start
    create_database
    run_init_files
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
    echo "PostgreSQL init process complete; ready for start up."
}

sql() {
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$POSTGRES_USER" "$@"
}

create_database() {
    sql --quiet --dbname postgres --set db="$POSTGRES_DB" <<'SQL'
SELECT format('CREATE DATABASE %I', :'db')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db') \gexec
SQL
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh)
            if [[ -x $file ]]; then
                echo "$0: running $file"
                "$file"
            else
                echo "$0: sourcing $file"
                # shellcheck source=/dev/null
                . "$file"
            fi
            ;;
        *.sql) echo "$0: running $file" && sql --dbname "$POSTGRES_DB" -f "$file" ;;
        *.sql.gz) echo "$0: running $file" && gunzip -c "$file" | sql --dbname "$POSTGRES_DB" ;;
        '/docker-entrypoint-initdb.d/*') ;; # the folder is empty
        *) echo "$0: ignoring $file" ;;
        esac
    done
}

main "$@"
