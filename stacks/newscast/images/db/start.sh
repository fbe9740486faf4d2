#!/bin/sh
# Start PostgreSQL, after making its files where there are none yet. A power cut on the way leaves nothing behind that
# counts: the files are made beside their place, and moved there in one step; all the rest may be said again.
set -eu
umask 077

password=
if [ -n "${DB_PASSWORD_FILE:-}" ]; then
    password=$(cat "$DB_PASSWORD_FILE")
fi
case $password in
    '') if [ "${DB_TRUST:-no}" != yes ]; then
            echo "start.sh: DB_PASSWORD_FILE is '${DB_PASSWORD_FILE:-}', which holds no password; write one into it" >&2
            exit 78
        fi
        method=trust
        say='PASSWORD NULL' ;;
    *[!A-Za-z0-9_.+/=@:,%-]*)
        echo "start.sh: the password in $DB_PASSWORD_FILE may have letters, digits and _.+/=@:,%- only" >&2
        exit 78 ;;
    *)  method=scram-sha-256
        say="PASSWORD '$password'" ;;
esac

if [ ! -d /data/pg ]; then
    rm -rf /data/new
    initdb --pgdata=/data/new --username=postgres --auth=reject --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
        --no-instructions > /tmp/initdb.log || { cat /tmp/initdb.log >&2; exit 1; }
    sync
    mv /data/new /data/pg
    sync
fi

# The owner comes by the socket only, as the user that the container runs as; the application by its password only.
printf 'container app postgres\n' > /tmp/pg_ident.conf
printf 'local all postgres peer map=container\nhost newscast newscast all %s\n' "$method" > /tmp/pg_hba.conf

# Said at each start, so that a new password counts. Nobody else can connect yet.
pg_ctl start --wait --silent --pgdata=/data/pg --log=/tmp/setup.log \
    --options="-c config_file=/opt/db/postgresql.conf -c listen_addresses=" || { cat /tmp/setup.log >&2; exit 1; }
psql --no-psqlrc --quiet --host=/tmp --username=postgres --set=ON_ERROR_STOP=1 postgres <<SQL
SELECT 'CREATE ROLE newscast LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'newscast') \gexec
SELECT 'CREATE DATABASE newscast OWNER newscast' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'newscast') \gexec
ALTER ROLE newscast $say;
SQL
unset password say
pg_ctl stop --wait --silent --mode=fast --pgdata=/data/pg
exec postgres -c config_file=/opt/db/postgresql.conf
