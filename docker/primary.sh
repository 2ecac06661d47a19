#!/bin/sh
# The PostgreSQL image runs this once, when it has made the cluster: a standby may
# follow, and from the next start on a commit waits until that has it on its disk.
set -e
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --command "ALTER SYSTEM SET synchronous_standby_names = 'standby'"
echo "host replication all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
