internal import Catalog
internal import IAM

extension FunctionSettings.Access {
    /// What the function's key lets its workers do. (Both were judged when they were set.)
    var policies: [Policy] {
        [Policy.text(ofBuckets: buckets ?? []), policy].compactMap { $0 }.map { (try? Policy($0.utf8, kind: .identity)) ?? .closed }
    }
}
