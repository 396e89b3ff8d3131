import Base
import Cache
import RESP

/// INCR and its relatives.
enum CounterCommands {
    static var rows: [Command] {
        [
            Command("incr", 2, [.write, .denyoom, .fast], .one, .string, since: "1.0.0", "Adds one to a number.") { session, arguments throws(Fault) in
                try add(session, arguments[1], 1)
            },
            Command("decr", 2, [.write, .denyoom, .fast], .one, .string, since: "1.0.0", "Takes one from a number.") { session, arguments throws(Fault) in
                try add(session, arguments[1], -1)
            },
            Command("incrby", 3, [.write, .denyoom, .fast], .one, .string, since: "1.0.0", "Adds to a number.") { session, arguments throws(Fault) in
                try add(session, arguments[1], try Numbers.need(arguments[2]))
            },
            Command("decrby", 3, [.write, .denyoom, .fast], .one, .string, since: "1.0.0", "Takes from a number.") { session, arguments throws(Fault) in
                let value = try Numbers.need(arguments[2])
                guard value != .min else { throw .message("ERR decrement would overflow") }
                try add(session, arguments[1], -value)
            },
            Command("incrbyfloat", 3, [.write, .denyoom, .fast], .one, .string, since: "2.6.0", "Adds to a number with a fraction.", addFraction),
        ]
    }

    private static func add(_ session: Session, _ key: UnsafeRawBufferPointer, _ change: Int64) throws(Fault) {
        var value: Int64 = 0
        if let old = session.look(key)?.value { value = try Numbers.need(old) }
        let (sum, over) = value.addingReportingOverflow(change)
        guard !over else { throw .message("ERR increment or decrement would overflow") }
        var fault: Fault?
        Numbers.withDigits(sum) { digits in
            do throws(Fault) { try session.store(key, digits, .unchanged, event: "incrby") } catch { fault = error }
        }
        if let fault { throw fault }
        session.reply.integer(sum)
    }

    private static func addFraction(_ session: Session, _ arguments: Arguments) throws(Fault) {
        var value: Numbers.Long = 0
        if let old = session.look(arguments[1])?.value {
            guard let number = Numbers.long(old) else { throw .notFloat }
            value = number
        }
        guard let change = Numbers.long(arguments[2]) else { throw .notFloat }
        let sum = value + change
        guard sum.isFinite else { throw .message("ERR increment would produce NaN or Infinity") }
        let text = Numbers.text(sum)
        var fault: Fault?
        text.withUnsafeBytes { text in
            do throws(Fault) { try session.store(arguments[1], text, .unchanged, event: "incrbyfloat") } catch { fault = error }
        }
        if let fault { throw fault }
        session.reply.bulk(text)
    }
}
