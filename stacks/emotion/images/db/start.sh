#!/bin/sh
# Start MariaDB, after making its tables where there are none yet. A power cut on the way leaves nothing behind that
# counts: the tables are made beside their place, and moved there in one step.
set -eu
umask 077

password=
if [ -n "${DB_PASSWORD_FILE:-}" ]; then
    password=$(cat "$DB_PASSWORD_FILE")
fi
case $password in
    '') if [ "${DB_EMPTY_PASSWORD:-no}" != yes ]; then
            echo "start.sh: DB_PASSWORD_FILE is '${DB_PASSWORD_FILE:-}', which holds no password; write one into it" >&2
            exit 78
        fi ;;
    *[!A-Za-z0-9_.+/=@:,%-]*)
        echo "start.sh: the password in $DB_PASSWORD_FILE may have letters, digits and _.+/=@:,%- only" >&2
        exit 78 ;;
esac

if [ ! -d /data/db ]; then
    rm -rf /data/new
    mkdir /data/new
    cd /usr/share/mariadb
    {
        printf 'CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n'
        cat mariadb_system_tables.sql mariadb_performance_tables.sql mariadb_system_tables_data.sql \
            maria_add_gis_sp_bootstrap.sql
        # Root by its socket only, and nobody without a name.
        printf "DELETE FROM global_priv WHERE User <> 'mariadb.sys' AND NOT (User = 'root' AND Host = 'localhost');\n"
        printf "UPDATE global_priv SET Priv = JSON_SET(Priv, '\$.plugin', 'unix_socket') WHERE User = 'root';\n"
    } | mariadbd --defaults-file=/opt/db/my.cnf --datadir=/data/new --bootstrap --skip-networking
    sync
    mv /data/new /data/db
    sync
fi

# The user of the application: no more than it needs, and encrypted. Said at each start, so that a new password counts.
{
    cat /opt/db/schema.sql
    printf "CREATE USER IF NOT EXISTS emotion@'%%';\n"
    printf "ALTER USER emotion@'%%' IDENTIFIED BY '%s' REQUIRE SSL;\n" "$password"
    printf "GRANT SELECT, INSERT, UPDATE ON emotion_detector.* TO emotion@'%%';\n"
} > /tmp/init.sql
unset password
exec mariadbd --defaults-file=/opt/db/my.cnf --init-file=/tmp/init.sql
