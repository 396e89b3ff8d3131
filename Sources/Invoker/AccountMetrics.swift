/// The concurrency of the whole node, which is Lambda's account, at one moment.
package struct AccountGauges: Sendable {
    package var limit = 0
    /// Sum of what functions have reserved.
    package var reserved = 0
    package var running = 0
    /// Of functions that have reserved nothing.
    package var unreservedRunning = 0
    package var provisionedUnreserved = 0
    package var onDemandUnreserved = 0

    package init() {}

    /// What can be given to nobody else now: reserved, provisioned, and what runs beside both (CloudWatch's ClaimedAccountConcurrency).
    package var claimed: Int { reserved + provisionedUnreserved + onDemandUnreserved }
}

/// One metric of the account; exposition, documentation and tests read this table. (CloudWatch's names for Lambda, in Prometheus' form.)
package struct AccountMetricRow: Sendable {
    package let name: String
    package let help: String
    package let read: @Sendable (AccountGauges) -> Int

    package static let table: [AccountMetricRow] = [
        AccountMetricRow(name: "hearth_account_concurrent_executions", help: "Invocations running now, of all functions.") { $0.running },
        AccountMetricRow(
            name: "hearth_unreserved_concurrent_executions", help: "Invocations running now, of functions without reserved concurrency."
        ) { $0.unreservedRunning },
        AccountMetricRow(
            name: "hearth_claimed_account_concurrency",
            help: "Concurrency that nobody else can have now: reserved, provisioned, and running beside both."
        ) { $0.claimed },
        AccountMetricRow(name: "hearth_account_concurrency_limit", help: "Most invocations at a time: limits.concurrency.") { $0.limit },
    ]
}
