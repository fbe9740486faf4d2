# shellcheck shell=sh
# Exit 0 if Redis answers who knows the password, which is in no argument.
password=
[ -z "${REDIS_PASSWORD_FILE:-}" ] || read -r password < "$REDIS_PASSWORD_FILE" || true
[ -z "$password" ] || export REDISCLI_AUTH="$password"
exec redis-cli -e ping
