internal import Base
internal import Cache
internal import Catalog
internal import Invoker

/// What `hearth cache advise` shows.
struct AdviceReport {
    private let invoker: Invoker

    init(_ invoker: Invoker) { self.invoker = invoker }

    var all: Report { .object([("subjects", .list(invoker.memo.advice.all.map(one)))]) }

    /// What other lifetimes and other sizes of the cache would bring to a function or a route.
    private func one(_ subject: CacheAdvice.Subject) -> Report {
        let forecasts = subject.ttls.forecasts()
        let lookups = subject.ttls.lookupsSeen
        let ttl = lifetime(subject)
        func share(_ value: Double?) -> Report { value.map { .number(($0 * 10_000).rounded() / 10_000) } ?? .null }
        let sizes = invoker.memo.advice.hitRatios(subject) ?? []
        return .object([
            ("function", .text(subject.function)), ("route", subject.route.map { .text($0) } ?? .null),
            ("ttl_s", ttl.map { .number($0.seconds) } ?? .null), ("lookups", .number(Double(lookups))),
            ("watched_s", .number(subject.ttls.watched.seconds.rounded())), ("keys_tracked", .number(Double(subject.ttls.keysTracked))),
            ("advice", .text(AdviceSentence.of(forecasts, lookups: lookups, ttl: ttl))),
            ("ttls", .list(forecasts.map { forecast in
                .object([
                    ("ttl_s", .number(forecast.ttl.seconds)), ("hit_ratio", share(forecast.hitRatio)),
                    ("stale_share", share(forecast.staleShare)),
                ])
            })),
            ("sizes", .list(zip(SizeAdvisor.sizes, sizes).map { size, ratio in
                .object([("bytes", .number(size * Double(invoker.memo.cache.limitBytes))), ("hit_ratio", share(ratio))])
            })),
        ])
    }

    /// As the version that the front listener serves has it; nil: it stores nothing.
    private func lifetime(_ subject: CacheAdvice.Subject) -> Span? {
        guard let version = invoker.snapshot.function(named: subject.function)?.front.version else { return nil }
        guard let route = subject.route else { return invoker.memo.rule(of: version)?.ttl }
        return version.settings.routes?.first { $0.path == route }.map { .seconds(UInt64(max(0, $0.ttl))) }
    }
}
