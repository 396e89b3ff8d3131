internal import GRDB

/// The tables of the catalogue.
///
///     functions ──latest──▶ versions ──digest──▶ code
///         ▲  ▲                  ▲
///         │  └── provisioned    │ number
///         └───── aliases ───────┘
///         └── event_invoke, impure, url_configs, policies
///     layers ◀── layer_versions ──digest──▶ code ◀──digest── version_layers ──▶ versions
///     access_keys
///
/// Invariants:
///  1. A row of `versions` never changes but for getting its number, once, and for `revision`. A change of code or settings is a
///     new row.
///  2. Numbers of a function are never used twice (`functions.last_number`).
///  3. A row without a number is the `latest` of its function, else it is deleted; `code` that no row names too.
///  4. `url_configs` may outlive its alias (as in Lambda): the URL is then answered 403.
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
        migrator.registerMigration("3: weights, function URLs, policies, tags, layers") { db in
            try db.execute(
                sql: """
                    ALTER TABLE aliases ADD COLUMN extra INTEGER;
                    ALTER TABLE aliases ADD COLUMN share REAL;
                    ALTER TABLE functions ADD COLUMN tags TEXT;
                    CREATE TABLE url_configs (
                        function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
                        qualifier TEXT NOT NULL,
                        settings TEXT NOT NULL,
                        PRIMARY KEY (function, qualifier)
                    );
                    CREATE TABLE policies (
                        function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
                        qualifier TEXT NOT NULL,
                        statements TEXT NOT NULL,
                        revision TEXT NOT NULL,
                        PRIMARY KEY (function, qualifier)
                    );
                    CREATE TABLE layers (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        name TEXT NOT NULL UNIQUE,
                        last_number INTEGER NOT NULL DEFAULT 0
                    );
                    CREATE TABLE layer_versions (
                        layer INTEGER NOT NULL REFERENCES layers(id),
                        number INTEGER NOT NULL,
                        digest TEXT NOT NULL REFERENCES code(digest),
                        size INTEGER NOT NULL,
                        settings TEXT NOT NULL,
                        created INTEGER NOT NULL,
                        statements TEXT,
                        revision TEXT,
                        PRIMARY KEY (layer, number)
                    );
                    CREATE TABLE version_layers (
                        version INTEGER NOT NULL REFERENCES versions(id) ON DELETE CASCADE,
                        digest TEXT NOT NULL REFERENCES code(digest),
                        PRIMARY KEY (version, digest)
                    );
                    """)
            // Whatever was deployed before had an open URL, and keeps it.
            let open = try OpenURL(at: 0)
            try db.execute(
                sql: "INSERT INTO url_configs (function, qualifier, settings) SELECT id, '$LATEST', ? FROM functions", arguments: [open.settings])
            try db.execute(
                sql: """
                    INSERT INTO policies (function, qualifier, statements, revision)
                    SELECT id, '$LATEST', ?, lower(hex(randomblob(16))) FROM functions
                    """, arguments: [open.statements])
        }
        migrator.registerMigration("4: access keys") { db in
            try db.execute(
                sql: """
                    CREATE TABLE access_keys (
                        name TEXT PRIMARY KEY NOT NULL,
                        id TEXT NOT NULL UNIQUE,
                        secret TEXT NOT NULL,
                        policy TEXT,
                        enabled INTEGER NOT NULL,
                        created INTEGER NOT NULL
                    );
                    """)
        }
        migrator.registerMigration("5: verdicts of audits") { db in
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
