package import Invoker
internal import Objects

/// One metric of the object store: how it is called and how it is read.
package struct ObjectMetricRow: Sendable {
    package let name: String
    package let kind: MetricRow.Kind
    package let help: String
    /// Labels, maybe none, and value.
    let read: @Sendable (StoreStatistics) -> [(labels: String, value: Double)]

    private init(_ name: String, _ kind: MetricRow.Kind, _ help: String, _ read: @escaping @Sendable (StoreStatistics) -> Double) {
        (self.name, self.kind, self.help) = (name, kind, help)
        self.read = { [("", read($0))] }
    }

    private init(tiers name: String, _ help: String, _ read: @escaping @Sendable (StoreStatistics.OfTier) -> Int64) {
        (self.name, kind, self.help) = (name, .gauge, help)
        self.read = { all in Tier.allCases.map { ("tier=\"\($0.name)\"", Double(read(all[$0]))) } }
    }

    package static let table: [ObjectMetricRow] = [
        ObjectMetricRow(tiers: "hearth_objects_bytes", "Bytes of objects before compression; small objects lie in the metadata.") { $0.bytes },
        ObjectMetricRow(tiers: "hearth_objects_stored_bytes", "The same as stored.") { $0.storedBytes },
        ObjectMetricRow(tiers: "hearth_objects_file_bytes", "The files that they are stored in, with what compaction will give back.") { $0.fileBytes },
        ObjectMetricRow("hearth_objects_saved_bytes", .gauge, "What compression of the cold tier saves.") { Double($0.savedBytes) },
        ObjectMetricRow("hearth_objects_metadata_bytes", .gauge, "meta.sqlite and its log: metadata and small objects.") { Double($0.metaBytes) },
        ObjectMetricRow("hearth_objects_buffered_bytes", .gauge, "Bytes of objects on their way to the disk.") { Double($0.bufferedBytes) },
        ObjectMetricRow("hearth_objects_buckets", .gauge, "Buckets.") { Double($0.buckets) },
        ObjectMetricRow("hearth_objects_uploads", .gauge, "Multipart uploads under way.") { Double($0.uploads) },
        ObjectMetricRow("hearth_objects_expired_total", .counter, "Versions and uploads that lifecycle rules removed.") { Double($0.lifecycleExpired) },
        ObjectMetricRow("hearth_objects_demoted_total", .counter, "Objects moved to the cold tier.") { Double($0.demoted) },
        ObjectMetricRow("hearth_objects_promoted_total", .counter, "Objects brought back from the cold tier.") { Double($0.promoted) },
        ObjectMetricRow("hearth_objects_lifecycle_lag_seconds", .gauge, "How late the last expiry was carried out; readers see it on time.") {
            Double($0.lifecycleLagMilliseconds) / 1000
        },
    ]
}
