internal import Base
internal import EventQueue
package import Invoker

/// One metric of the asynchronous events; exposition, documentation and tests read this table.
package struct EventMetricRow: Sendable {
    package let name: String
    package let kind: MetricRow.Kind
    package let help: String
    package let read: @Sendable (EventCounters) -> [MetricRow.Sample]

    private static func number(
        _ name: String, _ kind: MetricRow.Kind, _ help: String, _ read: @escaping @Sendable (EventCounters) -> Double
    ) -> EventMetricRow {
        EventMetricRow(name: name, kind: kind, help: help) { [.number("", read($0))] }
    }

    package static let table: [EventMetricRow] = [
        number("hearth_async_events_received_total", .counter, "Asynchronous events that were accepted.") { Double($0.received) },
        number("hearth_async_events_succeeded_total", .counter, "Asynchronous events whose function has succeeded.") { Double($0.succeeded) },
        number("hearth_async_retries_total", .counter, "Attempts put off: the function failed, or was throttled.") { Double($0.retried) },
        EventMetricRow(
            name: "hearth_async_events_dropped_total", kind: .counter, help: "Asynchronous events that were given up, by condition."
        ) { counters in
            counters.dropped.sorted { $0.key.rawValue < $1.key.rawValue }.map { .number("condition=\"\($0.key.rawValue)\"", Double($0.value)) }
        },
        number("hearth_async_delivery_failures_total", .counter, "Destinations that could not be told of an outcome.") {
            Double($0.deliveryFailures)
        },
        number("hearth_async_queue_depth", .gauge, "Asynchronous events on disk that are not done.") { Double($0.waiting) },
        number("hearth_async_failed_events", .gauge, "Failed events that are kept for hearth async redrive.") { Double($0.failed) },
        EventMetricRow(
            name: "hearth_async_event_age_seconds", kind: .histogram, help: "Time from an event's acceptance to each attempt."
        ) { [.histogram("", $0.age)] },
    ]
}
