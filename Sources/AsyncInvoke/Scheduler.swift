internal import Base
internal import Catalog
package import EventQueue
package import Invoker
internal import Schedule
package import UV

/// The schedules of functions: when one ticks, an event goes into the durable queue.
///
///     set (a deployment) ──commit──▶ rows ──the earliest `next`──▶ timer ──▶ tick: event and the row's new `next` in one commit ──▶ timer
///
/// Invariants:
///  1. A tick's event and the advance of its schedule are one transaction: a crash neither loses a tick nor makes it twice.
///  2. What ticked while nobody was there is made up for as its `missed` says (`MissedTicks`).
///  3. A schedule that is being written is not due.
///
/// Thread rule: the loop's thread.
package final class Scheduler {
    private struct Entry {
        var row: ScheduleRow
        let schedule: Schedule
        var isBusy = false
    }

    private let invoker: Invoker
    private let dispatcher: EventDispatcher
    private let region: String
    private let account: String
    private let timer: Timer
    /// By function and name.
    private var entries: [[String]: Entry] = [:]
    private var isStopping = false
    /// Orders that wait for ticks that are being written.
    private var waiting: [() -> Void] = []

    /// The clock may be set, or the machine sleep: it is looked at again after so long at the latest.
    private static let lookMilliseconds: Int64 = 3_600_000
    private static let pauseMilliseconds: Int64 = 1000

    package init(invoker: Invoker, dispatcher: EventDispatcher, region: String, account: String) throws(UVError) {
        self.invoker = invoker
        self.dispatcher = dispatcher
        self.region = region
        self.account = account
        timer = try Timer(loop: invoker.loop)
        timer.unreference()
    }

    private var now: Int64 { Int64(Loop.epochMilliseconds) }

    package func start() {
        dispatcher.schedules { [self] result in
            guard let rows = try? result.get() else {
                return timer.start(after: .milliseconds(UInt64(Self.pauseMilliseconds))) { [unowned self] in start() }
            }
            for row in rows { keep(row) }
            plan()
        }
    }

    package func stop() {
        isStopping = true
        timer.stop()
    }

    /// All, by function and in the order of their making.
    package var rows: [ScheduleRow] {
        entries.values.map(\.row).sorted { ($0.function, $0.start, $0.name) < ($1.function, $1.start, $1.name) }
    }

    /// Makes these the schedules of a function; those that say what they said before go on as they were. `done` hears why not.
    package func set(_ wanted: [ScheduleRow], of function: String, _ done: @escaping (String?) -> Void) {
        guard !entries.values.contains(where: { $0.isBusy && $0.row.function == function }) else {
            return waiting.append { [unowned self] in set(wanted, of: function, done) }
        }
        var rows: [ScheduleRow] = []
        for row in wanted {
            if let old = entries[[function, row.name]]?.row, old.isSame(as: row) {
                rows.append(old)
                continue
            }
            do throws(ScheduleError) {
                var new = row
                new.start = now
                new.next = try Schedule(row.expression, zone: row.zone).next(after: now - 1, start: now)
                rows.append(new)
            } catch { return done("the schedule \(row.expression) \(error)") }
        }
        guard rows != self.rows.filter({ $0.function == function }) else { return done(nil) }
        dispatcher.accept(.schedule(rows, of: function)) { [self] error in
            guard error == nil else { return done(error?.description) }
            entries = entries.filter { $0.key[0] != function }
            for row in rows { keep(row) }
            plan()
            done(nil)
        }
    }

    /// What cannot be read any more (a time zone that is gone) does not tick.
    private func keep(_ row: ScheduleRow) {
        guard let schedule = try? Schedule(row.expression, zone: row.zone) else { return }
        entries[[row.function, row.name]] = Entry(row: row, schedule: schedule)
    }

    private func plan() {
        guard !isStopping else { return }
        guard let next = entries.values.compactMap({ $0.isBusy ? nil : $0.row.next }).min() else { return timer.stop() }
        let wait = min(max(0, next - now), Self.lookMilliseconds)
        timer.start(after: .milliseconds(UInt64(wait))) { [unowned self] in tick() }
    }

    private func tick() {
        for (key, entry) in entries where !entry.isBusy && entry.row.next.map({ $0 <= now }) ?? false { tick(key, entry) }
        plan()
    }

    private func tick(_ key: [String], _ entry: Entry) {
        guard let due = entry.row.next else { return }
        // A function that is gone takes its schedules with it.
        guard invoker.snapshot.function(named: entry.row.function) != nil else { return set([], of: entry.row.function) { _ in } }
        let missed = MissedTicks(rawValue: entry.row.missed) ?? .once
        let told = missed.tick(due: due, now: now, of: entry.schedule, start: entry.row.start)
        var row = entry.row
        row.next = entry.schedule.next(after: now, start: row.start)
        row.last = told ?? row.last
        entries[key]?.isBusy = true
        let event = told.map { tick in
            let id = invoker.makeRequestID()
            return NewEvent(
                id: id, function: row.function, qualifier: row.qualifier,
                payload: ScheduledEvent(row: row, tick: tick, id: id, region: region, account: account).payload, accepted: now,
                source: "schedule")
        }
        dispatcher.accept(.tick(row, event)) { [self] error in
            entries[key]?.isBusy = false
            if error == nil { entries[key]?.row = row }
            let orders = waiting
            waiting = []
            for order in orders { order() }
            if error == nil { return plan() }
            timer.start(after: .milliseconds(UInt64(Self.pauseMilliseconds))) { [unowned self] in tick() }
        }
    }
}
