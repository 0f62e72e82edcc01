#!/bin/sh
# Saves Temporal's database and the artifact store of one host, while both go on, into a new folder of the folder $1.
# Files that have not changed since the backup before are hard links to it, so they take no space again. The seven newest
# backups stay. A folder with another name than a date is a backup that did not end. docs/backup.md says how to restore.
set -eu
umask 077

backups=$1
artifacts=${ARTIFACTS:-/var/lib/callboard/artifacts}
database=${DATABASE:-/var/lib/callboard-temporal/temporal.db}
python=${PYTHON:-/opt/callboard/bin/python}
keep=${KEEP:-7}

all() { find "$backups" -mindepth 1 -maxdepth 1 -name '2*' | sort; }

# rsync ends with 24 if a file has gone while it was copied, as logins and swept artifacts do.
copy() {
    rsync --archive --exclude='.tmp-*' ${before:+--link-dest="$before/artifacts"} "$artifacts/" "$new/artifacts/" ||
        [ $? = 24 ]
}

new=$backups/unfinished
rm -rf "$new"
mkdir "$new"
before=$(all | tail -n 1)
copy
"$python" -m sqlite3 "$database" "VACUUM INTO '$new/temporal.db'" >/dev/null
copy
mv -T "$new" "$backups/$(date --utc +%Y-%m-%dT%H-%M-%SZ)"
all | head -n "-$keep" | while read -r old; do rm -rf "$old"; done
