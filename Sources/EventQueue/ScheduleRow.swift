internal import Foundation
internal import GRDB

/// A schedule of a function, as it is on disk.
package struct ScheduleRow: Equatable, Sendable {
    package var function: String
    /// Among those of the function.
    package var name: String
    package var qualifier: String?
    package var expression: String
    package var zone: String
    /// JSON; nil: the scheduler's own event.
    package var input: String?
    /// `once` or `skip`.
    package var missed: String
    /// Milliseconds since 1970: when it was made, which is when a rate begins.
    package var start: Int64
    /// nil: it does not tick any more.
    package var next: Int64?
    package var last: Int64?

    package init(
        function: String, name: String, qualifier: String?, expression: String, zone: String, input: String?, missed: String, start: Int64,
        next: Int64?, last: Int64? = nil
    ) {
        self.function = function
        self.name = name
        self.qualifier = qualifier
        self.expression = expression
        self.zone = zone
        self.input = input
        self.missed = missed
        self.start = start
        self.next = next
        self.last = last
    }

    /// Says both the same? What has come of them does not matter.
    package func isSame(as other: ScheduleRow) -> Bool {
        var other = other
        (other.start, other.next, other.last) = (start, next, last)
        return self == other
    }
}

/// The table of schedules, inside a transaction.
enum ScheduleTable {
    static func replace(of function: String, with rows: [ScheduleRow], _ db: Database) throws {
        try db.execute(sql: "DELETE FROM schedules WHERE function = ?", arguments: [function])
        for row in rows {
            try db.execute(
                sql: """
                    INSERT INTO schedules (function, name, qualifier, expression, zone, input, missed, start, next, last)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    function, row.name, row.qualifier, row.expression, row.zone, row.input, row.missed, row.start, row.next, row.last,
                ])
        }
    }

    /// False: there is no such schedule any more.
    static func advance(_ row: ScheduleRow, _ db: Database) throws -> Bool {
        try db.execute(
            sql: "UPDATE schedules SET next = ?, last = ? WHERE function = ? AND name = ? AND start = ?",
            arguments: [row.next, row.last, row.function, row.name, row.start])
        return db.changesCount == 1
    }

    static func all(_ db: Database) throws -> [ScheduleRow] {
        try Row.fetchAll(db, sql: "SELECT * FROM schedules ORDER BY function, id").map { row in
            ScheduleRow(
                function: row["function"], name: row["name"], qualifier: row["qualifier"], expression: row["expression"], zone: row["zone"],
                input: row["input"], missed: row["missed"], start: row["start"], next: row["next"], last: row["last"])
        }
    }
}
