internal import GRDB

/// The tables of the queue.
///
/// Invariants:
///  1. A row of `events` is an event that was acknowledged and is not done: it goes in the transaction that adds what follows from it (the
///     events of its destinations, its row in `failed`).
///  2. Sequences are never used twice.
enum EventSchema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: events, failed") { db in
            try db.execute(
                sql: """
                    CREATE TABLE events (
                        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                        id_high INTEGER NOT NULL,
                        id_low INTEGER NOT NULL,
                        function TEXT NOT NULL,
                        qualifier TEXT,
                        accepted INTEGER NOT NULL,
                        due INTEGER NOT NULL,
                        attempts INTEGER NOT NULL DEFAULT 0,
                        refusals INTEGER NOT NULL DEFAULT 0,
                        source TEXT NOT NULL,
                        payload BLOB NOT NULL
                    );
                    CREATE TABLE failed (
                        sequence INTEGER PRIMARY KEY NOT NULL,
                        id_high INTEGER NOT NULL,
                        id_low INTEGER NOT NULL,
                        function TEXT NOT NULL,
                        qualifier TEXT,
                        accepted INTEGER NOT NULL,
                        due INTEGER NOT NULL,
                        attempts INTEGER NOT NULL,
                        refusals INTEGER NOT NULL,
                        source TEXT NOT NULL,
                        payload BLOB NOT NULL,
                        failed_at INTEGER NOT NULL,
                        condition TEXT NOT NULL,
                        message TEXT NOT NULL
                    );
                    """)
        }
        migrator.registerMigration("2: schedules") { db in
            try db.execute(
                sql: """
                    CREATE TABLE schedules (
                        id INTEGER PRIMARY KEY,
                        function TEXT NOT NULL,
                        name TEXT NOT NULL,
                        qualifier TEXT,
                        expression TEXT NOT NULL,
                        zone TEXT NOT NULL,
                        input TEXT,
                        missed TEXT NOT NULL,
                        start INTEGER NOT NULL,
                        next INTEGER,
                        last INTEGER,
                        UNIQUE (function, name)
                    );
                    """)
        }
        return migrator
    }
}
