#!/bin/sh
# Copies the primary, which the variables of libpq name (PGHOST and the like), if
# that was not done yet, and then becomes the command that was given.
set -e
if [ ! -e "$PGDATA/copied" ]; then
    # What an earlier copy has left that was broken off.
    find "$PGDATA" -mindepth 1 -delete
    pg_basebackup --pgdata "$PGDATA" --write-recovery-conf --checkpoint fast
    # Once it is promoted, it must not wait for itself.
    sed -i '/^synchronous_standby_names/d' "$PGDATA/postgresql.auto.conf"
    touch "$PGDATA/copied"
fi
exec "$@"
