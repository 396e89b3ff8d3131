internal import GRDB

/// The tables of `meta.sqlite`.
///
///     buckets ◀── versions ──body──▶ bodies ◀── extents ──blob──▶ blobs ──segment──▶ segments (one row a file)
///        ▲                             ▲  ▲─── body_parts
///        └────── uploads ◀── parts ────┘
///
/// A version is a row; its bytes are a body, which copies share. A body is inline (`data`) or a run of extents: pieces of blobs. A blob is
/// a run of rows in one segment file, found by `base`; it moves between files by a change of these two columns.
///
/// Invariants:
///  1. `bodies.refs` is the number of versions and parts that name it; `blobs.refs` that of its extents. Rows at 0 are deleted.
///  2. `extents` of a body lie end to end from 0 to its size.
///  3. Rows of a blob are on disk before its row here is.
///  4. `segments.live_*` are the sums over its blobs.
///  5. `versions.seq` is the negative number of the commit: the newest of a key comes first. Numbers are never used twice.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: objects") { db in
            try db.execute(
                sql: """
                    CREATE TABLE state (
                        id INTEGER PRIMARY KEY CHECK (id = 1), sequence INTEGER NOT NULL
                    );
                    INSERT INTO state VALUES (1, 0);
                    CREATE TABLE buckets (
                        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, created INTEGER NOT NULL,
                        versioning INTEGER NOT NULL, object_lock INTEGER NOT NULL
                    );
                    CREATE TABLE documents (
                        bucket INTEGER NOT NULL, kind TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (bucket, kind)
                    ) WITHOUT ROWID;
                    CREATE TABLE versions (
                        bucket INTEGER NOT NULL, key BLOB NOT NULL, seq INTEGER NOT NULL, nonce INTEGER NOT NULL, flags INTEGER NOT NULL,
                        size INTEGER NOT NULL, etag BLOB, parts INTEGER NOT NULL, modified INTEGER NOT NULL, class TEXT, body INTEGER,
                        checksum BLOB, tags BLOB, head BLOB, lock BLOB, restored INTEGER,
                        PRIMARY KEY (bucket, key, seq)
                    ) WITHOUT ROWID;
                    CREATE TABLE bodies (
                        id INTEGER PRIMARY KEY, refs INTEGER NOT NULL, size INTEGER NOT NULL, tier INTEGER NOT NULL, data BLOB
                    );
                    CREATE TABLE body_parts (
                        body INTEGER NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag BLOB NOT NULL, checksum BLOB,
                        modified INTEGER NOT NULL, PRIMARY KEY (body, number)
                    ) WITHOUT ROWID;
                    CREATE TABLE extents (
                        body INTEGER NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL, blob INTEGER NOT NULL, blob_start INTEGER NOT NULL,
                        PRIMARY KEY (body, start)
                    ) WITHOUT ROWID;
                    CREATE TABLE blobs (
                        id INTEGER PRIMARY KEY, refs INTEGER NOT NULL, segment INTEGER NOT NULL, base INTEGER NOT NULL, size INTEGER NOT NULL,
                        stored INTEGER NOT NULL
                    );
                    CREATE INDEX blobs_by_segment ON blobs (segment, id);
                    CREATE TABLE segments (
                        id INTEGER PRIMARY KEY AUTOINCREMENT, tier INTEGER NOT NULL, is_sealed INTEGER NOT NULL,
                        live_size INTEGER NOT NULL, live_stored INTEGER NOT NULL
                    );
                    CREATE TABLE uploads (
                        id INTEGER PRIMARY KEY AUTOINCREMENT, nonce INTEGER NOT NULL, bucket INTEGER NOT NULL, key BLOB NOT NULL,
                        initiated INTEGER NOT NULL, class TEXT, plan BLOB, tags BLOB, head BLOB, lock BLOB
                    );
                    CREATE INDEX uploads_by_key ON uploads (bucket, key, id);
                    CREATE TABLE parts (
                        upload INTEGER NOT NULL, number INTEGER NOT NULL, body INTEGER, size INTEGER NOT NULL, etag BLOB NOT NULL, checksum BLOB,
                        modified INTEGER NOT NULL, PRIMARY KEY (upload, number)
                    ) WITHOUT ROWID;
                    CREATE TABLE completed (
                        upload INTEGER PRIMARY KEY, nonce INTEGER NOT NULL, bucket INTEGER NOT NULL, key BLOB NOT NULL, until INTEGER NOT NULL,
                        seq INTEGER NOT NULL, version_nonce INTEGER NOT NULL, flags INTEGER NOT NULL, size INTEGER NOT NULL, etag BLOB NOT NULL,
                        parts INTEGER NOT NULL, modified INTEGER NOT NULL, checksum BLOB
                    );
                    CREATE INDEX completed_by_time ON completed (until);
                    CREATE TABLE access (body INTEGER PRIMARY KEY, time INTEGER NOT NULL, hits INTEGER NOT NULL);
                    """)
        }
        migrator.registerMigration("2: outbox of events") { db in
            // AUTOINCREMENT: numbers are not used again, so that who has read up to one has read all below it.
            try db.execute(
                sql: """
                    CREATE TABLE outbox (
                        id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, target TEXT NOT NULL, kind TEXT NOT NULL,
                        time INTEGER NOT NULL, bucket TEXT NOT NULL, owner TEXT NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, etag BLOB,
                        parts INTEGER NOT NULL, version TEXT, sequencer INTEGER NOT NULL, account TEXT NOT NULL, address TEXT NOT NULL,
                        request TEXT NOT NULL
                    );
                    """)
        }
        migrator.registerMigration("3: archive") { db in
            try db.execute(
                sql: """
                    ALTER TABLE segments ADD COLUMN is_away INTEGER NOT NULL DEFAULT 0;
                    CREATE INDEX restores_asked_for ON versions (bucket, key, seq) WHERE restored < 0;
                    """)
        }
        return migrator
    }
}
