internal import GRDB

/// The tables of the catalogue.
///
///     functions ──latest──▶ versions ──digest──▶ code
///         ▲  ▲                  ▲
///         │  └── provisioned    │ number
///         └───── aliases ───────┘
///         └── event_invoke, impure
///
/// Invariants:
///  1. A row of `versions` never changes but for getting its number, once. A change of code or settings is a new row.
///  2. Numbers of a function are never used twice (`functions.last_number`).
///  3. A row without a number is the `latest` of its function, else it is deleted; `code` that no row names too.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: functions, versions, aliases, concurrency") { db in
            try db.execute(
                sql: """
                    CREATE TABLE code (
                        digest TEXT PRIMARY KEY NOT NULL,
                        zip BLOB NOT NULL
                    );
                    CREATE TABLE functions (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        name TEXT NOT NULL UNIQUE,
                        latest INTEGER NOT NULL DEFAULT 0,
                        latest_revision TEXT NOT NULL,
                        last_number INTEGER NOT NULL DEFAULT 0,
                        reserved INTEGER,
                        created INTEGER NOT NULL
                    );
                    CREATE TABLE versions (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
                        number INTEGER,
                        digest TEXT NOT NULL REFERENCES code(digest),
                        code_size INTEGER NOT NULL,
                        settings TEXT NOT NULL,
                        revision TEXT NOT NULL,
                        modified INTEGER NOT NULL,
                        description TEXT,
                        UNIQUE (function, number)
                    );
                    CREATE INDEX versions_by_digest ON versions(digest);
                    CREATE TABLE aliases (
                        function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
                        name TEXT NOT NULL,
                        version INTEGER NOT NULL,
                        previous INTEGER,
                        description TEXT NOT NULL,
                        revision TEXT NOT NULL,
                        PRIMARY KEY (function, name)
                    );
                    CREATE TABLE provisioned (
                        function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
                        qualifier TEXT NOT NULL,
                        requested INTEGER NOT NULL,
                        PRIMARY KEY (function, qualifier)
                    );
                    """)
        }
        migrator.registerMigration("2: asynchronous invocation") { db in
            try db.execute(
                sql: """
                    CREATE TABLE event_invoke (
                        function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
                        qualifier TEXT NOT NULL,
                        settings TEXT NOT NULL,
                        PRIMARY KEY (function, qualifier)
                    );
                    """)
        }
        migrator.registerMigration("3: verdicts of audits") { db in
            try db.execute(
                sql: """
                    CREATE TABLE impure (
                        id INTEGER PRIMARY KEY,
                        function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
                        scope BLOB NOT NULL,
                        UNIQUE (function, scope)
                    );
                    """)
        }
        return migrator
    }
}
