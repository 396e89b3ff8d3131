/// What the store holds now; for stats and metrics.
package struct StoreStatistics: Sendable {
    package struct OfTier: Sendable {
        /// Of bodies, before compression; without those that lie in `meta.sqlite`.
        package var bytes: Int64 = 0
        /// Their rows on disk.
        package var storedBytes: Int64 = 0
        /// All rows of the files, those that nothing needs any more too.
        package var fileBytes: Int64 = 0
        package var files = 0
    }

    package var hot = OfTier()
    package var cold = OfTier()
    package var archive = OfTier()
    package var buckets = 0
    package var uploads = 0
    package var metaBytes: Int64 = 0
    /// Of bodies on their way to the disk.
    package var bufferedBytes = 0
    package var lifecycleExpired = 0
    package var lifecycleLagMilliseconds: Int64 = 0
    package var demoted = 0
    package var promoted = 0

    /// What compression saves.
    package var savedBytes: Int64 { cold.bytes - cold.storedBytes + archive.bytes - archive.storedBytes }

    package subscript(tier: Tier) -> OfTier {
        switch tier {
        case .hot: hot
        case .cold: cold
        case .archive: archive
        }
    }
}

/// What an online check has read, and every fault it found, one sentence each.
package struct CheckReport: Sendable {
    package var versions = 0
    package var blobs = 0
    package var chunks = 0
    package var bytes: Int64 = 0
    /// Rows that nothing needs any more, or never did (a broken upload's): given back by compaction; no fault.
    package var deadBytes: Int64 = 0
    package var faults: [String] = []
    /// Faults beyond the first thousand are counted only.
    package var faultCount = 0

    package var isClean: Bool { faultCount == 0 }

    mutating func fault(_ sentence: String) {
        faultCount += 1
        if faults.count < 1000 { faults.append(sentence) }
    }
}

package struct CompactReport: Sendable {
    package var filesRemoved = 0
    package var bytesMoved: Int64 = 0
    package var bytesFreed: Int64 = 0
}

/// What one step of the background work did.
package struct UpkeepReport: Sendable {
    package var expired = 0
    package var markersMade = 0
    package var aborted = 0
    package var transitioned = 0
    package var demoted = 0
    package var promoted = 0
    package var archived = 0
    package var restored = 0
    /// Rows looked at.
    package var examined = 0
    /// Every bucket with rules has been walked to its end since the last time that this was true.
    package var isRoundComplete = false

    package init() {}
}
