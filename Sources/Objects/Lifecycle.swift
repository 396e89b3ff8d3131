/// One enabled rule of a bucket's lifecycle configuration; the door has parsed and checked it.
package struct LifecycleRule: Hashable, Sendable {
    package enum When: Hashable, Sendable {
        case days(Int)
        /// Milliseconds since 1970.
        case date(Int64)
    }
    package struct Transition: Hashable, Sendable {
        package var when: When
        package var storageClass: StorageClass

        package init(_ when: When, to storageClass: StorageClass) {
            self.when = when
            self.storageClass = storageClass
        }
    }
    package struct NoncurrentTransition: Hashable, Sendable {
        package var days: Int
        package var keep: Int
        package var storageClass: StorageClass

        package init(days: Int, keep: Int = 0, to storageClass: StorageClass) {
            self.days = days
            self.keep = keep
            self.storageClass = storageClass
        }
    }

    package var id: String
    package var prefix: [UInt8]
    package var tags: [Field]
    /// Objects of more, and of fewer, bytes.
    package var sizeAbove: Int64?
    package var sizeBelow: Int64?
    package var expiration: When?
    /// Removes a delete marker under which no version is left.
    package var expiresDeleteMarkers: Bool
    package var noncurrentDays: Int?
    /// `NewerNoncurrentVersions`: this many are kept whatever their age.
    package var noncurrentKept: Int
    package var abortUploadsDays: Int?
    package var transitions: [Transition]
    package var noncurrentTransitions: [NoncurrentTransition]

    package init(
        id: String, prefix: [UInt8] = [], tags: [Field] = [], sizeAbove: Int64? = nil, sizeBelow: Int64? = nil, expiration: When? = nil,
        expiresDeleteMarkers: Bool = false, noncurrentDays: Int? = nil, noncurrentKept: Int = 0, abortUploadsDays: Int? = nil,
        transitions: [Transition] = [], noncurrentTransitions: [NoncurrentTransition] = []
    ) {
        self.id = id
        self.prefix = prefix
        self.tags = tags
        self.sizeAbove = sizeAbove
        self.sizeBelow = sizeBelow
        self.expiration = expiration
        self.expiresDeleteMarkers = expiresDeleteMarkers
        self.noncurrentDays = noncurrentDays
        self.noncurrentKept = noncurrentKept
        self.abortUploadsDays = abortUploadsDays
        self.transitions = transitions
        self.noncurrentTransitions = noncurrentTransitions
    }
}

/// When lifecycle rules act: pure, with the time and the length of a day as arguments.
///
/// S3's rule: so many days after the object was made, rounded up to the next beginning of a day (UTC).
package struct Lifecycle: Hashable, Sendable {
    package static let dayMilliseconds: Int64 = 86_400_000
    package let rules: [LifecycleRule]
    package let day: Int64

    package init(rules: [LifecycleRule], day: Int64 = Self.dayMilliseconds) {
        precondition(day > 0)
        self.rules = rules
        self.day = day
    }

    package var isEmpty: Bool { rules.isEmpty }

    /// The first beginning of a day that is not before `start` plus `days`.
    package func due(_ start: Int64, days: Int) -> Int64 {
        let (span, overflow) = Int64(days).multipliedReportingOverflow(by: day)
        guard !overflow, start < .max - span - day else { return .max }
        return (start + span + day - 1) / day * day
    }

    private func due(_ when: LifecycleRule.When, made: Int64) -> Int64 {
        switch when {
        case .days(let days): due(made, days: days)
        case .date(let time): time
        }
    }

    private func matches(_ rule: LifecycleRule, key: [UInt8], size: Int64, tags: [Field]) -> Bool {
        key.starts(with: rule.prefix) && rule.sizeAbove.map { size > $0 } ?? true && rule.sizeBelow.map { size < $0 } ?? true
            && rule.tags.allSatisfy(tags.contains)
    }

    /// When the newest version of a key expires, by the rule that acts first.
    package func expiry(key: [UInt8], size: Int64, tags: [Field], made: Int64) -> (time: Int64, rule: String)? {
        var first: (time: Int64, rule: String)?
        for rule in rules {
            guard let when = rule.expiration, matches(rule, key: key, size: size, tags: tags) else { continue }
            let time = due(when, made: made)
            if first.map({ time < $0.time }) ?? true { first = (time, rule.id) }
        }
        return first
    }

    /// Whether a version that another replaced at `replaced`, and that `newer` other noncurrent versions follow, is to go.
    package func expiresNoncurrent(key: [UInt8], size: Int64, tags: [Field], replaced: Int64, newer: Int, now: Int64) -> Bool {
        rules.contains { rule in
            guard let days = rule.noncurrentDays, newer >= rule.noncurrentKept else { return false }
            return matches(rule, key: key, size: size, tags: tags) && due(replaced, days: days) <= now
        }
    }

    /// Whether a delete marker under which nothing is left is to go: by its own rule, or by the age that objects expire at.
    package func expiresLoneMarker(key: [UInt8], made: Int64, now: Int64) -> Bool {
        rules.contains { rule in
            guard key.starts(with: rule.prefix), rule.tags.isEmpty, rule.sizeAbove == nil, rule.sizeBelow == nil else { return false }
            if rule.expiresDeleteMarkers { return true }
            guard case .days? = rule.expiration, let when = rule.expiration else { return false }
            return due(when, made: made) <= now
        }
    }

    /// When an upload is aborted, by the rule that acts first.
    package func abort(key: [UInt8], initiated: Int64) -> (time: Int64, rule: String)? {
        rules.compactMap { rule in
            guard let days = rule.abortUploadsDays, key.starts(with: rule.prefix) else { return nil }
            return (due(initiated, days: days), rule.id)
        }.min { $0.0 < $1.0 }
    }

    /// The storage class that the version should have by now: that of the last transition due; nil: none is.
    package func transition(
        key: [UInt8], size: Int64, tags: [Field], made: Int64, replaced: Int64?, newer: Int, now: Int64
    ) -> StorageClass? {
        var last: (time: Int64, to: StorageClass)?
        for rule in rules where matches(rule, key: key, size: size, tags: tags) {
            var due: [(time: Int64, to: StorageClass)] = []
            if let replaced {
                due = rule.noncurrentTransitions.filter { newer >= $0.keep }.map {
                    (self.due(replaced, days: $0.days), $0.storageClass)
                }
            } else {
                due = rule.transitions.map { (self.due($0.when, made: made), $0.storageClass) }
            }
            for step in due where step.time <= now && last.map({ step.time >= $0.time }) ?? true { last = step }
        }
        return last?.to
    }
}

/// A bucket's Intelligent-Tiering: pure, with the time and the length of a day as arguments.
package struct TieringRule: Hashable, Sendable {
    /// S3: smaller objects are neither monitored nor moved.
    package static let bytesMin: Int64 = 128 << 10
    /// Days without access after which an object becomes cold (S3: 30).
    package var days: Int
    package var prefix: [UInt8]
    package var tags: [Field]
    /// Moves objects of every storage class, not only INTELLIGENT_TIERING.
    package var everyClass: Bool
    /// Accesses on a cold object that bring it back (1: at once, S3's rule).
    package var promoteAfter: Int

    package init(days: Int = 30, prefix: [UInt8] = [], tags: [Field] = [], everyClass: Bool = false, promoteAfter: Int = 1) {
        self.days = days
        self.prefix = prefix
        self.tags = tags
        self.everyClass = everyClass
        self.promoteAfter = promoteAfter
    }

    func isDue(key: [UInt8], size: Int64, tags: [Field], storageClass: StorageClass, accessed: Int64, now: Int64, day: Int64) -> Bool {
        guard size >= Self.bytesMin, key.starts(with: prefix), self.tags.allSatisfy(tags.contains) else { return false }
        guard everyClass || storageClass == .intelligentTiering else { return false }
        return now - accessed >= Int64(days) * day
    }
}
