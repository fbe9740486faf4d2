# shellcheck shell=sh
# Start Redis with the password of REDIS_PASSWORD_FILE.
set -eu
umask 077
password=
if [ -n "${REDIS_PASSWORD_FILE:-}" ]; then
    # The last line of a file may have no end.
    read -r password < "$REDIS_PASSWORD_FILE" || true
fi
case $password in
    '')
        if [ "${REDIS_EMPTY_PASSWORD:-no}" != yes ]; then
            echo "start.sh: REDIS_PASSWORD_FILE is '${REDIS_PASSWORD_FILE:-}', which holds no password; write one into it" >&2
            exit 78
        fi
        echo "protected-mode no" > /tmp/password.conf ;;
    *[!A-Za-z0-9_.+/=@:,%-]*)
        echo "start.sh: the password in $REDIS_PASSWORD_FILE may have letters, digits and _.+/=@:,%- only" >&2
        exit 78 ;;
    *)
        echo "requirepass $password" > /tmp/password.conf ;;
esac
exec redis-server /opt/redis/redis.conf
